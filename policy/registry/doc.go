// Package registry keeps what runs under a script's name: its versions, which of them is
// active, which was before, and who changed that, when and why.
//
// # The model
//
// A [Script] has a name and versions. A [Version] is an immutable body with an id; the body is
// addressed by its SHA-1, which is the sha that clients send with EVALSHA. One version is
// active: calls by name, and calls by the sha of any version that is not pinned, run it. All
// scripts at one moment are a [Snapshot], which has a revision and never changes. Every
// operation of a [Registry] takes one snapshot to the next by compare-and-set in a [Store],
// and leaves one [Change] in the audit log.
//
// # Which wins, configuration or runtime
//
// A runtime activation (activate, rollback, promote) holds until the declared active version
// changes. [Registry.Declare] compares the declared active version with the one declared last,
// Script.DeclaredActive, and moves the pointer only when these two differ. Reloading or
// restarting with an unchanged configuration therefore never undoes a rollback. While the
// active version is another than the declared one, Script.Override is true.
//
// In a store which a fleet shares, the last proxy to declare something new wins: give one
// configuration to all proxies of a namespace.
//
// # Rollback
//
// Rollback takes the latest change back. While a canary runs, that is the canary: it ends, and
// the active version stays. Otherwise the previous version becomes active. After a rollback
// the previous version is the one that was rolled back from, and a second rollback without a
// target is refused: it could only mean going back to the bad version. Name the target instead.
//
// # One body under two names
//
// Both names resolve. The sha belongs to no single name then, and redirecting it to the
// active version of either could run the wrong script: [Snapshot.BySHA] reports it as shared, and
// a call by a shared sha runs exactly the body that it names.
package registry
