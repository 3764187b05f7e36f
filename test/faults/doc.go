// Package faults tests what clients are told when something between them and their data fails: servers that refuse,
// reset, stall or talk nonsense, replicas that come and go, a proxy that is told to end; and the limits that keep one
// client from harming others. The servers are real; what they can't be made to do is done to their connections on the way.
package faults
