return _G['re' .. 'dis'].call('GET', KEYS[1])
