// Package protect tests the whole program where something goes wrong on a server: scripts that run away, replicas that
// fall behind, primaries that change. It builds scriptproxy, runs it as a process in front of real redis-server
// processes, and looks at what happens to everybody else.
package protect
