// Package registry tests the script registry as operators and clients meet it: the built program, several of them, real
// redis-servers, the command line, and clients that never stop calling.
//
//	go test ./test/registry -repetitions 1000 -markdown docs/switch.md
//	go test ./test/registry -run Killed -kills 1000
package registry
