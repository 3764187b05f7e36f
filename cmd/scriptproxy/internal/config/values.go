package config

import (
	"fmt"
	"io/fs"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. In the file it is written with a unit: B; KB, MB,
// GB, TB by thousands; KiB, MiB, GiB, TiB by 1,024.
type Size int64

// sizeUnits are ordered so that String finds the largest binary unit first.
var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"KB", 1e3},
	{"B", 1},
}

// String returns the size in the largest binary unit that gives a whole number.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText returns what String does.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *Size) parse(text string) error {
	number, unit := splitUnit(text)
	if number == "" {
		return fmt.Errorf("%q is not a size; write one such as 64MiB", text)
	}
	if unit == "" {
		if number == "0" {
			*s = 0
			return nil
		}
		return fmt.Errorf("%q has no unit; write %sB, %sKiB or %sMiB", text, number, number, number)
	}
	for _, u := range sizeUnits {
		if !strings.EqualFold(u.name, unit) {
			continue
		}
		value, err := strconv.ParseFloat(number, 64)
		bytes := value * float64(u.bytes)
		if err != nil || bytes >= math.MaxInt64 || bytes != math.Trunc(bytes) {
			return fmt.Errorf("%q is not a whole number of bytes that fits 63 bits", text)
		}
		*s = Size(bytes)
		return nil
	}
	return fmt.Errorf("%q has the unknown unit %q; the units are B, KB, MB, GB, TB, KiB, MiB, GiB and TiB", text, unit)
}

// parseDuration reads a duration as Go writes them, such as 1s, 500ms or 1h30m.
func parseDuration(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err == nil {
		return d, nil
	}
	if number, unit := splitUnit(text); number != "" && unit == "" {
		return 0, fmt.Errorf("%q has no unit; write %ss or %sms", text, number, number)
	}
	return 0, fmt.Errorf("%q is not a duration; write one such as 500ms, 1s or 5m", text)
}

// splitUnit cuts text behind its leading number, which is empty when it does not
// begin with one.
func splitUnit(text string) (number, unit string) {
	end := 0
	for end < len(text) && (text[end] >= '0' && text[end] <= '9' || text[end] == '.' || end == 0 && text[end] == '-') {
		end++
	}
	return text[:end], strings.TrimSpace(text[end:])
}

// FileMode is the permissions of a unix socket. 0 leaves them to the umask.
type FileMode fs.FileMode

// String returns the mode in octal with a leading 0, and nothing for 0.
func (m FileMode) String() string {
	if m == 0 {
		return ""
	}
	return fmt.Sprintf("%04o", uint32(m))
}

// MarshalText returns what String does.
func (m FileMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

func (m *FileMode) parse(text string) error {
	if text == "" {
		*m = 0
		return nil
	}
	bits, err := strconv.ParseUint(strings.TrimPrefix(text, "0o"), 8, 32)
	if err != nil || bits > 0o777 {
		return fmt.Errorf("%q is not a mode; write one in octal, such as \"0770\"", text)
	}
	*m = FileMode(bits)
	return nil
}

// Body is the source of a script, byte for byte.
type Body []byte

func (b *Body) parse(text string) error {
	*b = Body(text)
	return nil
}

func (s *Secret) parse(text string) error {
	*s = NewSecret(text)
	return nil
}

func parseBool(text string) (bool, error) {
	switch text {
	case "true":
		return true, nil
	case "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", text)
}

func parseInt(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a whole number", text)
	}
	return n, nil
}
