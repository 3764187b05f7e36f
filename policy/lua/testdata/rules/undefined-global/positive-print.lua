print('hello')
return 1
