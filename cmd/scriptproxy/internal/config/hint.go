package config

import (
	"fmt"
	"reflect"
	"strings"
)

// keyHint returns what to add to "unknown key": the key of the section that is
// nearest to it, or the place elsewhere in the file where the key belongs. file
// is the type of what the whole file holds.
func keyHint(file, section reflect.Type, key string) string {
	var keys []string
	for f := range fieldsOf(section) {
		k, _ := yamlKey(f)
		keys = append(keys, k)
	}
	if near := nearest(key, keys); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if place := placeOf(file, "", key); place != "" {
		return fmt.Sprintf("; did you mean %q?", place)
	}
	return ""
}

// placeOf returns the path of the first key of that name below t; the entries of
// a list are written as list[], those of versions as versions.VERSION.
func placeOf(t reflect.Type, path, key string) string {
	for f := range fieldsOf(t) {
		k, _ := yamlKey(f)
		if k == key {
			return join(path, k)
		}
	}
	for f := range fieldsOf(t) {
		k, _ := yamlKey(f)
		inner, at := f.Type, join(path, k)
		switch {
		case inner == reflect.TypeFor[Versions]():
			at += ".VERSION"
		case inner.Kind() == reflect.Slice:
			at += "[]"
		}
		if inner.Kind() == reflect.Slice || inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		if place := placeOf(inner, at, key); place != "" {
			return place
		}
	}
	return ""
}

// fieldsOf yields the fields of t that have a key, nothing when t is no struct.
func fieldsOf(t reflect.Type) func(yield func(reflect.StructField) bool) {
	return func(yield func(reflect.StructField) bool) {
		if t.Kind() != reflect.Struct {
			return
		}
		for i := range t.NumField() {
			if _, ok := yamlKey(t.Field(i)); ok && !yield(t.Field(i)) {
				return
			}
		}
	}
}

// nearest returns the word that word was probably meant to be, empty when none
// is near: it may differ in a third of its letters, and case and - for _ do not
// count.
func nearest(word string, words []string) string {
	fold := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "-", "_") }
	word = fold(word)
	if len(word) > 64 {
		return ""
	}
	best, least := "", len(word)/3+1
	for _, w := range words {
		if d := distance(word, fold(w)); d < least || d == 0 {
			best, least = w, d
		}
	}
	return best
}

// distance is the number of letters to insert, delete, replace or swap with
// their neighbour to get from a to b.
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
