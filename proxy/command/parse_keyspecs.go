package command

import (
	"bytes"
	"fmt"
	"strings"
)

// keySpecs reads the list of c's key specs. A spec that makes no sense, or is of a kind that this package does not
// know, is kept as unknown, so that Keys says that it cannot tell.
func (r *replyReader) keySpecs(c *Command) error {
	n, err := r.elements()
	if err != nil {
		return err
	}
	if n > maxKeySpecs {
		return fmt.Errorf("%d key specs, more than %d", n, maxKeySpecs)
	}
	c.KeySpecs = []KeySpec{}
	for range n {
		spec, err := r.keySpec()
		if err != nil {
			return fmt.Errorf("key spec %d: %w", len(c.KeySpecs), err)
		}
		c.KeySpecs = append(c.KeySpecs, spec)
	}
	return nil
}

func (r *replyReader) keySpec() (s KeySpec, err error) {
	err = r.fields(func(name string) error {
		switch name {
		case "flags":
			return r.each(func(flag string) { s.Flags |= parseKeyFlag(flag) })
		case "begin_search":
			return r.beginSearch(&s)
		case "find_keys":
			return r.findKeys(&s)
		}
		return r.skip()
	})
	if s.Begin == BeginIndex && s.Pos < 1 || s.Begin == BeginKeyword && (s.Pos == 0 || s.Keyword == "") {
		s.Begin = BeginUnknown
	}
	if s.Find != FindUnknown && s.Step < 1 || s.Limit < 0 || s.KeyNumIdx < 0 || s.FirstKey < 0 {
		s.Find = FindUnknown
	}
	return s, err
}

// fields reads a map, flattened to an array in RESP2, of names and values; value must read the value.
func (r *replyReader) fields(value func(name string) error) error {
	n, err := r.elements()
	if err != nil {
		return err
	}
	if n%2 != 0 {
		return fmt.Errorf("a map of %d elements", n)
	}
	for range n / 2 {
		name, err := r.str()
		if err != nil {
			return err
		}
		if err := value(string(name)); err != nil {
			return err
		}
	}
	return nil
}

func (r *replyReader) beginSearch(s *KeySpec) error {
	return r.typed(func(kind, name string) (err error) {
		switch {
		case kind == "index" && name == "index":
			s.Begin = BeginIndex
			s.Pos, err = r.integer(maxPosition)
		case kind == "keyword" && name == "keyword":
			s.Begin = BeginKeyword
			var word []byte
			word, err = r.str()
			s.Keyword = strings.ToUpper(string(bytes.TrimSpace(word)))
		case kind == "keyword" && name == "startfrom":
			s.Pos, err = r.integer(maxPosition)
		default:
			err = r.skip()
		}
		return err
	})
}

func (r *replyReader) findKeys(s *KeySpec) error {
	return r.typed(func(kind, name string) (err error) {
		switch kind {
		case "range":
			s.Find = FindRange
		case "keynum":
			s.Find = FindKeyNum
		default:
			return r.skip()
		}
		switch name {
		case "lastkey":
			s.LastKey, err = r.integer(maxPosition)
		case "keystep":
			s.Step, err = r.integer(maxPosition)
		case "limit":
			s.Limit, err = r.integer(maxPosition)
		case "keynumidx":
			s.KeyNumIdx, err = r.integer(maxPosition)
		case "firstkey":
			s.FirstKey, err = r.integer(maxPosition)
		default:
			err = r.skip()
		}
		return err
	})
}

// typed reads a map with the fields type and spec, in that order as every server sends them, and calls value for each
// field of spec.
func (r *replyReader) typed(value func(kind, name string) error) error {
	kind := ""
	return r.fields(func(name string) error {
		switch name {
		case "type":
			s, err := r.str()
			kind = string(s)
			return err
		case "spec":
			return r.fields(func(field string) error { return value(kind, field) })
		}
		return r.skip()
	})
}
