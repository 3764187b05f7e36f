package policy

import (
	"math/bits"
	"strings"
)

// Outcomes says what can become of calls of which only part is known: over all networks, listeners, classes,
// numbers of keys, sizes and times. It says what enforce mode would do, whatever the mode.
type Outcomes struct {
	Allow, Deny bool // some such call is allowed; some such call is denied
	AllowedBy   int  // the first rule that may allow; NoRule is the default, or nothing
	DeniedBy    int  // the first rule that may deny; NoRule is the default, or nothing
}

// Outcomes returns what can become of a user's calls of a script or command, which must be of this Set. An
// empty name stands for any user. It is not for the hot path.
func (s *Set) Outcomes(user string, target *Target) Outcomes {
	users := func(r *rule) bool { return len(r.users) == 0 }
	candidates := target.mask
	if user != "" {
		candidates = candidates.and(s.where(func(r *rule) bool { return r.matchesUser(user) }))
		users = func(*rule) bool { return true }
	}
	fallback := s.spec.Default
	if target.command != "" {
		fallback = s.spec.DefaultCommands
	}
	return s.outcomes(candidates, fallback, func(r *rule) bool { return users(r) && r.unconditional() })
}

// OutcomesOfUse returns what can become of a user's calls of scripts, known or not, because they use a
// command: rules and defaults that deny scripts for other reasons are left out.
func (s *Set) OutcomesOfUse(user, command string) Outcomes {
	command = strings.ToLower(command)
	categories := s.categoriesOf(command)
	uses := func(r *rule) bool { return len(r.uses) > 0 && r.usesCommand(command, categories) }
	candidates := s.where(func(r *rule) bool {
		return !r.plain && (r.action == Allow || uses(r)) && (user == "" || r.matchesUser(user))
	})
	return s.outcomes(candidates, Allow, func(r *rule) bool {
		return (user != "" || len(r.users) == 0) && r.unconditional() && r.registered == anyRegistration &&
			len(r.scripts) == 0 && len(r.functions) == 0 && len(r.tags) == 0 && len(r.shas) == 0 && !r.onFindings() &&
			(len(r.uses) == 0 || uses(r))
	})
}

// unconditional reports whether the rule has no condition on how, from where and when something is called.
func (r *rule) unconditional() bool {
	return r.networks.any() && len(r.listeners) == 0 && r.classes == allClasses &&
		r.keys == wholeSpan && r.arguments == wholeSpan && r.hours == nil
}

// outcomes walks through the rules that may match, up to the first decisive one that matches for certain.
func (s *Set) outcomes(candidates mask, fallback Action, certain func(*rule) bool) Outcomes {
	o := Outcomes{AllowedBy: NoRule, DeniedBy: NoRule}
	for w, word := range candidates {
		for word &= s.decisive[w]; word != 0; word &= word - 1 {
			i := w*64 + bits.TrailingZeros64(word)
			r := s.rules[i]
			if r.action == Deny && !o.Deny {
				o.Deny, o.DeniedBy = true, i
			}
			if r.action == Allow && !o.Allow {
				o.Allow, o.AllowedBy = true, i
			}
			if certain(r) {
				return o
			}
		}
	}
	if fallback == Deny {
		o.Deny = true
	} else {
		o.Allow = true
	}
	return o
}
