package command

import "strings"

// KeyFlags say what a command does with the keys of one key spec, as COMMAND reports it.
type KeyFlags uint16

// The key flags of Redis 7 and Valkey.
const (
	KeyRO KeyFlags = 1 << iota
	KeyRW
	KeyOW
	KeyRM
	KeyAccess
	KeyUpdate
	KeyInsert
	KeyDelete
	KeyNotKey        // not a key, but hashed to a slot like one: the channel of SSUBSCRIBE
	KeyIncomplete    // the spec does not find all keys
	KeyVariableFlags // the other flags depend on the arguments
)

var keyFlagNames = [...]string{
	"RO", "RW", "OW", "RM", "access", "update", "insert", "delete", "not_key", "incomplete", "variable_flags",
}

// String gives the flags with COMMAND's names, joined by commas, in a fixed order.
func (f KeyFlags) String() string {
	var names []string
	for i, name := range keyFlagNames {
		if f&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

func parseKeyFlag(name string) KeyFlags {
	for i, known := range keyFlagNames {
		if known == name {
			return 1 << i
		}
	}
	return 0
}

// Begin is how a key spec finds its first argument.
type Begin uint8

// BeginUnknown: only the server can tell.
const (
	BeginUnknown Begin = iota
	BeginIndex
	BeginKeyword
)

// Find is how a key spec finds its keys from the first argument on.
type Find uint8

// FindUnknown: only the server can tell.
const (
	FindUnknown Find = iota
	FindRange
	FindKeyNum
)

// KeySpec is one of a command's key specifications; see https://redis.io/docs/latest/develop/reference/key-specs/.
type KeySpec struct {
	Flags KeyFlags

	Begin   Begin
	Pos     int    // BeginIndex: the argument; BeginKeyword: where the search starts, negative from the end backwards
	Keyword string // BeginKeyword: upper case

	Find    Find
	LastKey int // FindRange: relative to the first argument; negative counts from the end
	Step    int // at least 1
	Limit   int // FindRange with LastKey -1: 2 takes the first half of the arguments left, and so on

	KeyNumIdx int // FindKeyNum: where the number of keys stands, relative to the first argument
	FirstKey  int // FindKeyNum: where the keys start, relative to the first argument
}
