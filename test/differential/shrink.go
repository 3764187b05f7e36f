package differential

import (
	"slices"
	"time"
)

// Shrink returns a sequence, as short as it gets within the time, for which fails still says yes. fails must say yes to
// s itself.
func Shrink(s Sequence, within time.Duration, fails func(Sequence) bool) Sequence {
	deadline := time.Now().Add(within)
	try := func(t Sequence) bool { return time.Now().Before(deadline) && len(t) > 0 && fails(t) }
	for {
		before := s.Commands()
		s = shrinkSteps(s, try)
		s = shrinkCommands(s, try)
		if s.Commands() == before || time.Now().After(deadline) {
			return s
		}
	}
}

// shrinkSteps takes runs of steps out, long ones first.
func shrinkSteps(s Sequence, fails func(Sequence) bool) Sequence {
	for size := max(1, len(s)/2); ; size /= 2 {
		for i := 0; i < len(s); {
			if t := slices.Delete(slices.Clone(s), i, min(i+size, len(s))); fails(t) {
				s = t
			} else {
				i += size
			}
		}
		if size <= 1 {
			return s
		}
	}
}

// shrinkCommands takes runs of commands out of pipelines, and puts whole what was cut into pieces.
func shrinkCommands(s Sequence, fails func(Sequence) bool) Sequence {
	for i := range s {
		for size := max(1, len(s[i].Cmds)/2); ; size /= 2 {
			for j := 0; j < len(s[i].Cmds) && len(s[i].Cmds) > 1; {
				t := slices.Clone(s)
				t[i].Cmds = slices.Delete(slices.Clone(t[i].Cmds), j, min(j+size, len(t[i].Cmds)))
				if len(t[i].Cmds) > 0 && fails(t) {
					s = t
				} else {
					j += size
				}
			}
			if size <= 1 {
				break
			}
		}
		if s[i].Pieces > 1 {
			t := slices.Clone(s)
			t[i].Pieces = 0
			if fails(t) {
				s = t
			}
		}
	}
	return s
}
