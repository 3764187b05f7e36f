// Package policy tests the policy as users meet it: the program in front of real
// servers, with rule files, clients that are denied, clients that try to get round, and
// the servers' own ACLs behind. It holds tests only.
package policy
