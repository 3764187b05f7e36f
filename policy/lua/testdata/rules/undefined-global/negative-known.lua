local ok, v = pcall(cjson.decode, ARGV[1])
return {type(v), tostring(ok), bit.band(1, 3), #cmsgpack.pack(v), math.floor(1.5), select('#', unpack(ARGV))}
