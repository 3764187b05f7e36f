package registry

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

const maxName = 128

// SHA returns the sha by which Redis knows a body: SHA-1, 40 lowercase hex digits.
func SHA(body []byte) string {
	sum := sha1.Sum(body)
	return hex.EncodeToString(sum[:])
}

// IsSHA tells whether s is 40 hex digits, of either case, and so stands for a body and not for
// a name.
func IsSHA(s string) bool {
	if len(s) != 2*sha1.Size {
		return false
	}
	for i := range len(s) {
		c := s[i] | 0x20
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// ValidateName checks a script's name: 1 to 128 characters of A-Z a-z 0-9 . _ : - /, the first
// a letter, a digit or an underscore, with no empty, "." or ".." part between slashes, and not
// 40 hex digits, which would be a sha.
func ValidateName(name string) error { return validate("script name", name) }

// ValidateVersion checks a version id. The rule is that of names, without the slash.
func ValidateVersion(id string) error {
	if strings.Contains(id, "/") {
		return fmt.Errorf("version id %q has a slash in it", id)
	}
	return validate("version id", id)
}

func validate(what, s string) error {
	switch {
	case s == "":
		return fmt.Errorf("the %s is empty", what)
	case len(s) > maxName:
		return fmt.Errorf("the %s %q… has %d characters; at most %d are allowed", what, s[:32], len(s), maxName)
	case IsSHA(s):
		return fmt.Errorf("%s %q is 40 hex digits: it would be taken for a sha", what, s)
	}
	for i := range len(s) {
		c := s[i]
		alnum := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
		if !alnum && (i == 0 || strings.IndexByte(".:-/", c) < 0) {
			return fmt.Errorf("%s %q: %q at position %d is not allowed; use letters, digits and . _ : - /, beginning with a letter, a digit or _", what, s, string(rune(c)), i+1)
		}
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%s %q has an empty, \".\" or \"..\" part between its slashes", what, s)
		}
	}
	return nil
}

// SplitName splits "name@version"; version is empty where none is given.
func SplitName(s string) (name, version string) {
	name, version, _ = strings.Cut(s, "@")
	return name, version
}

// closest returns up to three of names that a person may have meant, best first.
func closest(want string, names []string) []string {
	type candidate struct {
		name     string
		distance int
	}
	var found []candidate
	lower := strings.ToLower(want)
	for _, name := range names {
		n := strings.ToLower(name)
		d := editDistance(lower, n)
		if strings.Contains(n, lower) || strings.Contains(lower, n) {
			d = min(d, 1)
		}
		if d <= 1+len(want)/4 {
			found = append(found, candidate{name, d})
		}
	}
	slices.SortStableFunc(found, func(a, b candidate) int { return a.distance - b.distance })
	var out []string
	for _, c := range found[:min(3, len(found))] {
		out = append(out, c.name)
	}
	return out
}

// editDistance is Levenshtein's, over bytes; both strings are at most maxName long or close to it.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
