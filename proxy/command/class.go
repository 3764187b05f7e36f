package command

import "slices"

// Class is what a command may do, as far as routing, retries and metrics care. The package comment has the rule.
type Class uint8

// ClassWrite is the zero value: what is not known otherwise is a write.
const (
	ClassWrite Class = iota
	ClassRead
	ClassAdmin
	ClassScript

	// NumClasses is the number of classes, for counters indexed by class.
	NumClasses = int(ClassScript) + 1
)

// String gives the class as configuration, metrics and logs spell it.
func (c Class) String() string {
	switch c {
	case ClassRead:
		return "read"
	case ClassAdmin:
		return "admin"
	case ClassScript:
		return "script"
	default:
		return "write"
	}
}

// classByName settles commands for which the server reports neither write nor readonly nor anything else to go by.
// The reasons are in the package comment.
var classByName = map[string]Class{
	"PUBLISH":  ClassWrite,
	"SPUBLISH": ClassWrite,
	"WAIT":     ClassWrite,
	"WAITAOF":  ClassWrite,
	"MULTI":    ClassWrite,
	"EXEC":     ClassWrite,
	"DISCARD":  ClassWrite,
	"WATCH":    ClassWrite,
	"UNWATCH":  ClassWrite,

	"MEMORY|PURGE": ClassAdmin,
	"INFO":         ClassAdmin,
	"LASTSAVE":     ClassAdmin,
	"ROLE":         ClassAdmin,

	"TIME":                    ClassRead,
	"COMMAND":                 ClassRead,
	"ACL|CAT":                 ClassRead,
	"ACL|DIGEST":              ClassRead,
	"ACL|GENPASS":             ClassRead,
	"ACL|WHOAMI":              ClassRead,
	"CLUSTER|COUNTKEYSINSLOT": ClassRead,
	"CLUSTER|GETKEYSINSLOT":   ClassRead,
	"CLUSTER|INFO":            ClassRead,
	"CLUSTER|KEYSLOT":         ClassRead,
	"CLUSTER|LINKS":           ClassRead,
	"CLUSTER|MYID":            ClassRead,
	"CLUSTER|MYSHARDID":       ClassRead,
	"CLUSTER|NODES":           ClassRead,
	"CLUSTER|SHARDS":          ClassRead,
	"CLUSTER|SLOT-STATS":      ClassRead,
	"CLUSTER|SLOTS":           ClassRead,
	"MEMORY|DOCTOR":           ClassRead,
	"MEMORY|MALLOC-STATS":     ClassRead,
	"MEMORY|STATS":            ClassRead,
}

// classify applies the rule of the package comment. c's Op, Flags, Categories and finished subs must be set.
func classify(c *Command) Class {
	switch {
	case c.Op.IsScript():
		return ClassScript
	case c.Flags&Write != 0:
		return ClassWrite
	case c.Flags&ReadOnly != 0:
		return ClassRead
	}
	if class, ok := classByName[c.Name]; ok {
		return class
	}
	switch {
	case c.Flags&Admin != 0, c.hasCategory("admin"), c.hasCategory("dangerous"):
		return ClassAdmin
	case c.Flags&Module != 0:
		return ClassWrite
	case c.hasCategory("connection"), c.hasCategory("pubsub"), c.key() == "HELP" && c.key() != c.Name:
		return ClassRead
	}
	if slices.ContainsFunc(c.subs, func(s *Command) bool { return s.Class == ClassAdmin }) {
		return ClassAdmin
	}
	return ClassWrite
}

// nodeBound lists readonly commands whose answer, or effect, belongs to the node that gives it: cursors are
// meaningless on another node, and access statistics are kept by each node for itself.
var nodeBound = map[string]bool{
	"SCAN": true, "HSCAN": true, "SSCAN": true, "ZSCAN": true, "FT.CURSOR": true,
	"TOUCH": true, "OBJECT|FREQ": true, "OBJECT|IDLETIME": true, "MEMORY|USAGE": true,
}
