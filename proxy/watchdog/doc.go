// Package watchdog knows which scripts run on which node and for how long,
// ends those that have passed their deadline, and refuses what keeps being
// ended.
//
// A Run is one script call that an event loop sees first on a link. The
// loops enter it in the node's Running list once it has taken long enough to
// matter, and leave it there until its reply comes. From that everybody else
// learns that the node is taken, by what, and since when.
//
// A run past its deadline is reported to the node's goroutine, which has a
// connection of its own for the kill. It never sends a kill blindly: it asks
// PING first. A node that answers PONG runs nothing. One that answers BUSY
// runs a script that has passed busy-reply-threshold, so that a kill takes
// effect at once, and by then every other call in flight there has been
// answered BUSY as well: the one call still without an answer is the one that
// runs. A node that is silent runs a script before that threshold, or one long
// command, or is stalled: none of these can be killed, and nothing is sent
// that could hit whatever comes after.
package watchdog
