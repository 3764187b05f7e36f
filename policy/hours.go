package policy

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // time zones must be known in images without a zone database too
)

const (
	minutesPerDay  = 24 * 60
	minutesPerWeek = 7 * minutesPerDay
)

// schedule is a set of minutes of the week, on the wall clock of one time zone.
type schedule struct {
	zone    *time.Location
	minutes [(minutesPerWeek + 63) / 64]uint64
}

var weekdays = [...]string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseZone returns the zone of that IANA name; empty is UTC.
func parseZone(name string) (*time.Location, error) {
	if name == "Local" {
		return nil, fmt.Errorf("unknown time zone 'Local': use a name such as Europe/Berlin, which means the same on every machine")
	}
	zone, err := time.LoadLocation(name)
	if err != nil {
		return nil, fmt.Errorf("unknown time zone '%s': use a name such as Europe/Berlin or UTC", name)
	}
	return zone, nil
}

// add takes in a window: days, times or both. A window that ends before it starts ends on the next day, and
// its days are those on which it starts.
func (s *schedule) add(text string) error {
	bad := func(why string) error {
		return fmt.Errorf("bad hours '%s': %s; use a form such as 22:00-06:00, Mon-Fri 09:00-17:00 or Sat,Sun", text, why)
	}
	days := [7]bool{true, true, true, true, true, true, true}
	from, length := 0, minutesPerDay
	fields := strings.Fields(text)
	if len(fields) == 0 || len(fields) > 2 {
		return bad("it must be days, times, or days and times")
	}
	if !strings.Contains(fields[0], ":") {
		var err error
		if days, err = parseDays(fields[0]); err != nil {
			return bad(err.Error())
		}
		fields = fields[1:]
	}
	if len(fields) == 2 {
		return bad("days come first")
	}
	if len(fields) == 1 {
		first, last, ok := strings.Cut(fields[0], "-")
		start, okStart := parseTime(first)
		end, okEnd := parseTime(last)
		switch {
		case !ok || !okStart || !okEnd || start == minutesPerDay:
			return bad("times must be HH:MM-HH:MM, from 00:00 to 24:00")
		case start == end:
			return bad("it starts when it ends")
		}
		from, length = start, (end-start+minutesPerDay)%minutesPerDay
		if length == 0 {
			length = minutesPerDay
		}
	}
	for day, on := range days {
		for m := 0; on && m < length; m++ {
			minute := (day*minutesPerDay + from + m) % minutesPerWeek
			s.minutes[minute/64] |= 1 << (minute % 64)
		}
	}
	return nil
}

// parseDays reads "Mon-Fri,Sun". A range may pass the week's end.
func parseDays(text string) ([7]bool, error) {
	var days [7]bool
	for part := range strings.SplitSeq(text, ",") {
		first, last, ranged := strings.Cut(part, "-")
		if !ranged {
			last = first
		}
		from, to := weekday(first), weekday(last)
		if from < 0 || to < 0 {
			return days, fmt.Errorf("'%s' is no day: use Mon, Tue, Wed, Thu, Fri, Sat, Sun", part)
		}
		for d := from; ; d = (d + 1) % 7 {
			days[d] = true
			if d == to {
				break
			}
		}
	}
	return days, nil
}

func weekday(text string) int {
	for i, name := range weekdays {
		if strings.EqualFold(text, name) {
			return i
		}
	}
	return -1
}

// parseTime reads HH:MM up to 24:00 and returns minutes.
func parseTime(text string) (int, bool) {
	if len(text) != 5 || text[2] != ':' {
		return 0, false
	}
	hours, err := strconv.ParseUint(text[:2], 10, 8)
	minutes, err2 := strconv.ParseUint(text[3:], 10, 8)
	total := int(hours)*60 + int(minutes)
	return total, err == nil && err2 == nil && minutes < 60 && total <= minutesPerDay
}

// contains reports whether t falls into one of the windows on the zone's wall clock.
func (s *schedule) contains(t time.Time) bool {
	t = t.In(s.zone)
	minute := int(t.Weekday())*minutesPerDay + t.Hour()*60 + t.Minute()
	return s.minutes[minute/64]>>(minute%64)&1 != 0
}

// covers reports whether every moment of other is one of s; of two zones it says no.
func (s *schedule) covers(other *schedule) bool {
	if s.zone.String() != other.zone.String() {
		return false
	}
	for i, w := range other.minutes {
		if w&^s.minutes[i] != 0 {
			return false
		}
	}
	return true
}
