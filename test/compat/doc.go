// Command compat runs the end-to-end tests against other servers than the installed one.
//
//	go run ./test/compat                       # all servers, the tests of the whole program
//	go run ./test/compat -servers valkey-8.1 -run 'Script|Name' ./test/e2e
//	go run ./test/compat -optional             # what can't be had is said, and is no failure
//
// The servers are Debian's packages of other releases than the machine's. They are fetched by apt-get from the
// machine's own mirrors, with another release's name in the sources, and with lists, state and cache of their own; their
// signatures are checked as ever. They and the libraries that they need are unpacked beneath a directory of the
// user's cache and started by their own dynamic loader. Nothing of the system is read or changed but the names of its
// mirrors and its keys. What was unpacked once is used again; -update fetches anew.
//
// It prints how many tests of each package passed and failed on each server, and how each failed. Its status is 1 when a
// test failed, or when a server could not be had unless -optional is given.
package main
