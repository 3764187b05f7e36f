// Package policy decides whether a script call, or a plain command, may run.
//
// A Spec is an ordered list of rules as an operator wrote it. Compile turns it, together with a Catalog of
// the registered scripts and known commands, into an immutable Set; Set.Decide answers one Request with one
// Verdict. The same Set explains its verdicts (Set.Explain).
//
// # How rules are read
//
// Rules are read from first to last. A rule matches when every condition it states holds; within one list
// any entry suffices. What a matching rule does depends on its action:
//
//   - allow and deny decide: no later rule is looked at.
//   - audit reports the call and goes on: the call fares exactly as if the rule were not there. A new deny
//     rule can be tried out this way.
//   - no action: the rule only sets attributes (route, deadline, concurrency, rate, priority, version) and
//     goes on.
//
// Each attribute is taken from the first matching rule that sets it, up to and including the rule that
// decides; a rate per script and a rate per user are two attributes. When no rule decides, the default
// decides: Spec.Default for script calls, Spec.DefaultCommands for plain commands.
//
// A rule with commands is about plain commands, every other rule about script calls; no rule is about both.
//
// # Modes
//
// Off looks at nothing. Audit looks at everything and applies nothing: what would have been denied runs and
// is reported, and attributes are left alone. Enforce applies.
//
// # Speed
//
// Every condition that does not change from call to call is evaluated beforehand, into one bit per rule:
// per session, per script, per command, per class, per interval of key counts and argument sizes, per minute.
// Decide intersects six such bit masks word by word and stops at the first bit that decides; its cost
// depends on the number of rules (a word per 64), not on what they say, and it allocates nothing.
package policy
