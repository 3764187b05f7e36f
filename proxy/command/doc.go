// Package command is the proxy's command table: what each command is, where its keys stand, and how the proxy has to
// treat it.
//
//	table := command.Embedded()                      // until a server has been asked
//	if reported, err := command.Parse(reply); err == nil {
//		table = table.Merge(reported)                // newer servers and modules are classed rightly
//	}
//	cmd := table.Resolve(args[0], args[1])           // "CLIENT|LIST" for CLIENT LIST
//
// # Classes
//
// Every command has one Class. For a command with subcommands the subcommand's counts, so resolve before looking at
// it. The first rule that applies decides:
//
//  1. EVAL, EVALSHA, FCALL, their _RO forms, SCRIPT and FUNCTION with all subcommands are scripts. Whether such a
//     call reads or writes is decided elsewhere.
//  2. What the server flags write is a write, also where it is administrative (FLUSHALL, MIGRATE, PFDEBUG).
//  3. What the server flags readonly is a read, also where it is dangerous (KEYS, SORT_RO).
//  4. Commands which have neither flag and about which the rest of the report says too little go by a list:
//     PUBLISH and SPUBLISH are writes, since they have an effect that must not happen twice and that starts from the
//     primary. WAIT and WAITAOF are writes, since they are about writes on the same connection. MULTI, EXEC, DISCARD,
//     WATCH and UNWATCH are writes, since the proxy cannot know what a transaction will hold. INFO, ROLE, LASTSAVE
//     and MEMORY PURGE are administration. TIME, COMMAND, ACL WHOAMI, CLUSTER NODES, MEMORY STATS and their like are
//     reads: they change nothing and may be asked again.
//  5. What is flagged admin, or is in the ACL category admin or dangerous, is administration.
//  6. A module's command with none of these flags is a write, since nothing is known of it.
//  7. The ACL categories connection (PING, ECHO, AUTH, HELLO, SELECT, CLIENT ID) and pubsub (SUBSCRIBE, PUBSUB
//     CHANNELS), and HELP subcommands, are reads.
//  8. A container, which counts when its subcommand is not known, is administration when one of its subcommands is.
//  9. The rest, such as a new command without flags, is a write.
//
// A read in this sense may be sent again when a link is lost; it may go to a replica only when ReplicaOK says so.
// A command that the table does not have at all (Lookup gives nil) must be treated as a write on a connection of its
// own.
//
// # The embedded table
//
// commands.txt is generated from the COMMAND reply of a real server by `go generate`. supplement.txt adds by hand the
// commands of newer servers, so that they are classed rightly even before a server has been asked, or when the
// server's users may not call COMMAND.
//
// # Limits
//
// A command that the server's configuration renames (rename-command) is reported under its old name by Redis 7; under
// its new name the table does not have it.
package command
