// Package acl makes a server's own access control enforce what a policy says.
//
// A proxy that reads scripts can be evaded: a script may compute the name of a command, or load code from a
// string. The server cannot: it checks every command that a script runs against the user who called the
// script. Generate gives the ACL SETUSER lines with which the users that clients' calls travel as may run
// scripts that are loaded (EVALSHA, FCALL), but load none themselves (no EVAL, SCRIPT LOAD, FUNCTION LOAD), and
// run no command that the policy denies them, inside or outside of scripts. Scripts are loaded by another user.
//
// A server's ACL knows users and commands; it knows no networks, listeners, times, sizes, tags or versions.
// What a policy denies only under such conditions stays with the proxy, and Plan.Notes says so.
//
// Subcommands can be denied from Redis 7.0 and Valkey 7.2 on.
package acl
