// Package e2e tests the whole program: it builds scriptproxy, runs it as a process in front of real redis-server
// processes, and looks at it the way clients and operators do, through sockets, HTTP and the log.
package e2e
