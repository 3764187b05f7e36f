package lua

// origin says where a value comes from.
type origin uint32
