package command

// Op names what the proxy treats specially. It goes by the command's name alone, never by what a server reports, so
// that no server can talk the proxy out of special treatment.
type Op uint8

// Subcommands have their container's Op, except CLUSTER SYNCSLOTS, which is OpSync.
const (
	OpNone Op = iota
	OpPing
	OpEcho
	OpHello
	OpAuth
	OpClient
	OpSelect
	OpReset
	OpQuit
	OpEval
	OpEvalRO
	OpEvalSha
	OpEvalShaRO
	OpFCall
	OpFCallRO
	OpScript
	OpFunction
	OpMulti
	OpExec
	OpDiscard
	OpWatch
	OpUnwatch
	OpSubscribe
	OpUnsubscribe
	OpPSubscribe
	OpPUnsubscribe
	OpSSubscribe
	OpSUnsubscribe
	OpMonitor
	OpWait // WAIT and WAITAOF
	OpCommand
	OpReadonly
	OpReadwrite
	OpAsking
	OpSync // SYNC, PSYNC, REPLCONF, CLUSTER SYNCSLOTS: the connection becomes a replication link
	OpShutdown
	OpDebug
	OpInfo
	OpXRead // XREAD and XREADGROUP: they block with BLOCK only, see Command.BlocksWith
)

var opByName = map[string]Op{
	"PING":              OpPing,
	"ECHO":              OpEcho,
	"HELLO":             OpHello,
	"AUTH":              OpAuth,
	"CLIENT":            OpClient,
	"SELECT":            OpSelect,
	"RESET":             OpReset,
	"QUIT":              OpQuit,
	"EVAL":              OpEval,
	"EVAL_RO":           OpEvalRO,
	"EVALSHA":           OpEvalSha,
	"EVALSHA_RO":        OpEvalShaRO,
	"FCALL":             OpFCall,
	"FCALL_RO":          OpFCallRO,
	"SCRIPT":            OpScript,
	"FUNCTION":          OpFunction,
	"MULTI":             OpMulti,
	"EXEC":              OpExec,
	"DISCARD":           OpDiscard,
	"WATCH":             OpWatch,
	"UNWATCH":           OpUnwatch,
	"SUBSCRIBE":         OpSubscribe,
	"UNSUBSCRIBE":       OpUnsubscribe,
	"PSUBSCRIBE":        OpPSubscribe,
	"PUNSUBSCRIBE":      OpPUnsubscribe,
	"SSUBSCRIBE":        OpSSubscribe,
	"SUNSUBSCRIBE":      OpSUnsubscribe,
	"MONITOR":           OpMonitor,
	"WAIT":              OpWait,
	"WAITAOF":           OpWait,
	"COMMAND":           OpCommand,
	"READONLY":          OpReadonly,
	"READWRITE":         OpReadwrite,
	"ASKING":            OpAsking,
	"SYNC":              OpSync,
	"PSYNC":             OpSync,
	"REPLCONF":          OpSync,
	"CLUSTER|SYNCSLOTS": OpSync,
	"SHUTDOWN":          OpShutdown,
	"DEBUG":             OpDebug,
	"INFO":              OpInfo,
	"XREAD":             OpXRead,
	"XREADGROUP":        OpXRead,
}

// IsSubscription reports whether op subscribes or unsubscribes.
func (op Op) IsSubscription() bool { return op >= OpSubscribe && op <= OpSUnsubscribe }

// ForSubscribers reports whether a RESP2 connection with subscriptions may use op (server.c, processCommand).
func (op Op) ForSubscribers() bool {
	return op.IsSubscription() || op == OpPing || op == OpQuit || op == OpReset
}

// IsScript reports whether op runs or manages scripts or functions: the EVAL and FCALL families, SCRIPT, FUNCTION.
func (op Op) IsScript() bool { return op >= OpEval && op <= OpFunction }
