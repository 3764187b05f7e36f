package policy

import "strconv"

// AppendDenied appends the text of the error for a call that a verdict denies, without the leading minus and
// the line end:
//
//	DENIED script 'transfer' version v2: rule 'no-flush': use UNLINK
//	DENIED script 'f0c4…': rule 'registered-only': ask the platform team
//	DENIED command 'config|set': rule 'no-config'
//
// kind is "script", "function" or "command"; version may be empty.
func AppendDenied(dst []byte, kind, name, version, reason string) []byte {
	dst = appendSubject(append(dst, "DENIED "...), kind, name, version)
	return append(append(dst, ": "...), reason...)
}

// AppendLimited appends the text of the error for a call that a limit refused, without the leading minus
// and the line end:
//
//	LIMIT script 'report' version v1: rule 'reports': at most 2 at the same time
//	LIMIT script 'report' version v1: rule 'reports': at most 10/s per script
//
// a is what Admit returned for a verdict of s.
func (s *Set) AppendLimited(dst []byte, kind, name, version string, a Admission) []byte {
	dst = appendSubject(append(dst, "LIMIT "...), kind, name, version)
	if a.Rule < 0 || int(a.Rule) >= len(s.rules) {
		return dst
	}
	r := s.rules[a.Rule]
	dst = append(append(append(dst, ": rule '"...), r.name...), "': at most "...)
	switch a.Exceeded {
	case LimitConcurrency:
		dst = strconv.AppendInt(dst, int64(r.gate), 10)
		dst = append(dst, " at the same time"...)
	case LimitScriptRate:
		dst = append(dst, r.rates[PerScript].text(r.plain)...)
	case LimitUserRate:
		dst = append(dst, r.rates[PerUser].text(r.plain)...)
	}
	return dst
}

// text gives the rate for a reader; for plain commands, PerScript counts by command.
func (r *Rate) text(plain bool) string {
	if plain && r.Per == PerScript {
		return r.LimitText() + " per command"
	}
	return r.String()
}

// maxNameInReply bounds the part of an error that clients choose, in bytes.
const maxNameInReply = 128

// appendSubject appends what was called. Bytes that would end or garble an error reply become '?'.
func appendSubject(dst []byte, kind, name, version string) []byte {
	dst = append(append(dst, kind...), " '"...)
	dst = appendPrintable(dst, name)
	dst = append(dst, '\'')
	if version != "" {
		dst = appendPrintable(append(dst, " version "...), version)
	}
	return dst
}

func appendPrintable(dst []byte, text string) []byte {
	cut := len(text) > maxNameInReply
	if cut {
		text = text[:maxNameInReply]
	}
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == 0x7f {
			dst = append(dst, '?')
		} else {
			dst = append(dst, c)
		}
	}
	if cut {
		dst = append(dst, "..."...)
	}
	return dst
}
