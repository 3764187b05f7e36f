package acl

// loading are the commands that bring code into the server. Only the loader may have them: with one of them,
// a client needs no registered script.
var loading = []string{
	"eval", "eval_ro", "script|load", "script|debug",
	"function|load", "function|restore", "module|load", "module|loadex",
}

// unloading are the commands that take code out of the server, or stop it. The proxy answers them itself, or
// sends them as another user.
var unloading = []string{
	"script|flush", "script|kill", "function|delete", "function|flush", "function|kill", "module|unload",
}

// lifting are commands that can change the ACL itself, or replace the data and the functions by those of
// another server. A rule that names them for a user keeps them; the default does not.
var lifting = []string{
	"acl|setuser", "acl|deluser", "acl|load", "config|set", "config|rewrite", "debug",
	"replicaof", "slaveof",
}

// calling are the commands that every data user needs: those that run what is loaded.
var calling = []string{"evalsha", "evalsha_ro", "fcall", "fcall_ro", "script|exists"}

// connection are the commands that the proxy itself sends on a data user's connections.
var connection = []string{
	"auth", "hello", "ping", "quit", "reset", "select", "asking", "readonly", "readwrite", "unwatch", "discard",
	"client|setname", "client|getname", "client|setinfo", "client|id",
}

// loaderNeeds are the commands that the loader must have.
var loaderNeeds = []string{
	"script|load", "script|exists", "script|flush", "script|kill",
	"function|load", "function|delete", "function|list", "function|stats", "function|kill",
}

// unchecked are the commands that a server lets everybody run, whatever the ACL says: those needed to log in.
var unchecked = []string{"auth", "hello", "quit", "reset"}

// standalone is the only command with subcommands that does anything without one.
const standalone = "command"
