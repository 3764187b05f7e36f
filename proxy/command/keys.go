package command

import "errors"

var (
	// ErrKeys is what Keys returns when the arguments are such that the server itself finds no keys and refuses the
	// command: pass the command on for the server's own error.
	ErrKeys = errors.New("command: the arguments are not valid, no keys can be told")
	// ErrKeysUnknown is what Keys returns for a command whose keys only the server can tell: a module's own finder.
	ErrKeysUnknown = errors.New("command: only the server can tell the keys of this command")
)

// finder is how Keys goes about a command.
type finder uint8

const (
	findNone finder = iota // the command has no keys
	findBySpecs
	findByRange // COMMAND's older description, where there are no key specs
	findSort    // SORT: STORE may stand anywhere
	findFirst   // SORT_RO: what BY and GET touch is not counted as a key by Redis either
	findMigrate
	findUnknown
)

func finderOf(c *Command) finder {
	if c.Flags&Module == 0 {
		switch c.Name {
		case "SORT":
			return findSort
		case "SORT_RO":
			return findFirst
		case "MIGRATE":
			return findMigrate
		}
	}
	found := findNone
	for i := range c.KeySpecs {
		spec := &c.KeySpecs[i]
		switch {
		case spec.Flags&KeyNotKey != 0:
			continue
		case spec.Begin == BeginUnknown, spec.Find == FindUnknown, spec.Flags&KeyIncomplete != 0,
			// What a server makes up for a module that has its own finder.
			spec.Flags&KeyVariableFlags != 0 && c.Flags.Has(Module|MovableKeys):
			return findUnknown
		}
		found = findBySpecs
	}
	switch {
	case len(c.KeySpecs) > 0:
		return found
	case c.Flags&MovableKeys != 0:
		return findUnknown
	case c.FirstKey > 0:
		return findByRange
	}
	return findNone
}

// Keys appends the indexes of the key arguments to dst, in the order in which the key specs give them, and returns
// it. arg gives argument i of n, the command's name being argument 0; for a container Keys goes on to the subcommand
// by itself. It finds what COMMAND GETKEYS of Redis 7 and later finds, and does not allocate but to grow dst. On an error, which is
// ErrKeys or ErrKeysUnknown, dst comes back as it was.
//
// The channels of SPUBLISH, SSUBSCRIBE and SUNSUBSCRIBE are no keys.
func (c *Command) Keys(n int, arg func(int) []byte, dst []int) ([]int, error) {
	if len(c.subs) > 0 && n > 1 {
		if sub := c.Sub(arg(1)); sub != nil {
			c = sub
		}
	}
	switch c.finder {
	case findNone:
		return dst, nil
	case findBySpecs:
		dst, err := c.keysBySpecs(n, arg, dst)
		if err != nil && c.FirstKey > 0 && c.Flags&MovableKeys == 0 {
			return c.keysByRange(n, dst) // PFMERGE without sources is valid, and its second spec is not
		}
		return dst, err
	case findByRange:
		return c.keysByRange(n, dst)
	case findFirst:
		return appendRange(dst, n, 1, 1, 1)
	case findSort:
		return sortKeys(n, arg, dst)
	case findMigrate:
		return migrateKeys(n, arg, dst)
	}
	return dst, ErrKeysUnknown
}

func (c *Command) keysByRange(n int, dst []int) ([]int, error) {
	last := c.LastKey
	if last < 0 {
		last += n
	}
	return appendRange(dst, n, c.FirstKey, last, c.Step)
}

func (c *Command) keysBySpecs(n int, arg func(int) []byte, dst []int) ([]int, error) {
	start := len(dst)
	for i := range c.KeySpecs {
		spec := &c.KeySpecs[i]
		if spec.Flags&KeyNotKey != 0 {
			continue
		}
		first := spec.Pos
		if spec.Begin == BeginKeyword {
			if first = spec.searchKeyword(n, arg); first == 0 {
				continue
			}
		}
		var err error
		if spec.Find == FindKeyNum {
			dst, err = spec.appendCounted(dst, n, arg, first, c.Flags&NoMandatoryKeys != 0)
		} else {
			last := first + spec.LastKey
			if spec.LastKey < 0 {
				last = n + spec.LastKey
				if spec.Limit > 0 {
					last = first + (n-first)/spec.Limit + spec.LastKey
				}
			}
			dst, err = appendRange(dst, n, first, last, spec.Step)
		}
		if err != nil {
			return dst[:start], err
		}
	}
	if len(dst) == start && c.Flags&NoMandatoryKeys == 0 {
		return dst, ErrKeys
	}
	return dst, nil
}

// searchKeyword returns the index after the keyword, or 0 when it does not occur. Like Redis it leaves out the
// argument at which the search would end: the last one going forwards, the first one going backwards.
func (s *KeySpec) searchKeyword(n int, arg func(int) []byte) int {
	i, end, step := s.Pos, n-1, 1
	if s.Pos <= 0 {
		i, end, step = n+s.Pos, 1, -1
	}
	if i > end && step > 0 {
		return 0
	}
	for ; i != end && i >= 1 && i < n; i += step {
		if equalFold(arg(i), s.Keyword) {
			return i + 1
		}
	}
	return 0
}

func (s *KeySpec) appendCounted(dst []int, n int, arg func(int) []byte, first int, noneOK bool) ([]int, error) {
	at := first + s.KeyNumIdx
	if at >= n || at < 0 {
		return dst, ErrKeys
	}
	count, ok := parseInteger(arg(at))
	if !ok || count < 0 || count > int64(n) {
		return dst, ErrKeys
	}
	if count == 0 {
		if noneOK {
			return dst, nil
		}
		return dst, ErrKeys
	}
	first += s.FirstKey
	return appendRange(dst, n, first, first+(int(count)-1)*s.Step, s.Step)
}

// appendRange appends first, first+step … up to last, which must all be arguments.
func appendRange(dst []int, n, first, last, step int) ([]int, error) {
	if first < 1 || first >= n || last < first || last >= n || step < 1 {
		return dst, ErrKeys
	}
	for i := first; i <= last; i += step {
		dst = append(dst, i)
	}
	return dst, nil
}

// sortKeys finds the keys of SORT: the first argument, and the last STORE's.
func sortKeys(n int, arg func(int) []byte, dst []int) ([]int, error) {
	if n < 2 {
		return dst, ErrKeys
	}
	store := 0
	for i := 2; i < n; i++ {
		switch option := arg(i); {
		case equalFold(option, "LIMIT"):
			i += 2
		case equalFold(option, "GET"), equalFold(option, "BY"):
			i++
		case equalFold(option, "STORE") && i+1 < n:
			store = i + 1
		}
	}
	dst = append(dst, 1)
	if store > 0 {
		dst = append(dst, store)
	}
	return dst, nil
}

// migrateKeys finds the keys of MIGRATE: argument 3, or those after KEYS when argument 3 is empty.
func migrateKeys(n int, arg func(int) []byte, dst []int) ([]int, error) {
	for i := 6; i < n; i++ {
		switch option := arg(i); {
		case equalFold(option, "KEYS"):
			if len(arg(3)) > 0 {
				return dst, ErrKeys
			}
			return appendRange(dst, n, i+1, n-1, 1)
		case equalFold(option, "AUTH"):
			i++
		case equalFold(option, "AUTH2"):
			i += 2
		}
	}
	return appendRange(dst, n, 3, 3, 1)
}
