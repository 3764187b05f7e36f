// Package differential compares a client's view of scriptproxy with its view of Redis.
//
// A sequence of commands on a few connections runs twice: direct, against one redis-server, and through the proxy,
// against a twin of it. Every reply must be the same byte for byte, except what differences.go lists, with the reason
// of each. Connections are served one after the other, so that the servers see the same order; a connection's
// pipelines are not. At the end of a sequence the servers' data must be the same too (DEBUG DIGEST).
//
// The sequences are random (Generate: all commands, all types, transactions, blocking, subscriptions, scripts, errors, in
// both protocols) and reproducible:
//
//	go test ./test/differential -seed=7                              # one seed
//	go test ./test/differential -run Random -seed=7 -seeds=20 -count-commands=1000000 -timeout=30m
//	go test ./test/differential -run Random -seed=7 -first=41 -count-commands=1
//
// A difference is printed with the shortest sequence that still shows it, in the notation of the sequences in
// regressions_test.go, where it is added when it is mended. Every wait is bounded: a reply that does not come is a
// difference like any other.
package differential
