package topology

import (
	"strconv"
	"strings"
)

// number reads a decimal, 0 for what is none.
func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func majorVersion(v string) int {
	major, _, _ := strings.Cut(v, ".")
	return int(number(major))
}
