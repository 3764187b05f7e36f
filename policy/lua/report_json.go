package lua

import (
	"encoding/json"
	"io"
)

// jsonFile is one file of the JSON format.
type jsonFile struct {
	File     string    `json:"file"`
	Class    string    `json:"class"`
	Analysed bool      `json:"analysed"`
	Why      string    `json:"why,omitempty"`
	Dynamic  bool      `json:"dynamic"`
	Commands []string  `json:"commands"`
	Flags    []string  `json:"flags,omitempty"`
	Library  string    `json:"library,omitempty"`
	Keys     jsonCount `json:"keys"`
	Args     jsonCount `json:"args"`
	Findings []Finding `json:"findings"`
}

// jsonCount is how many keys or arguments a script uses.
type jsonCount struct {
	Min      int  `json:"min"`
	Max      int  `json:"max"` // highest literal index
	Variable bool `json:"variable"`
}

// WriteJSON writes reports as one JSON document: {"files": [...], "counts": {"error": n, "warning": n, "note": n}}.
// Lists are never null.
func WriteJSON(w io.Writer, reports []Report) error {
	doc := struct {
		Files  []jsonFile     `json:"files"`
		Counts map[string]int `json:"counts"`
	}{Files: make([]jsonFile, 0, len(reports)), Counts: map[string]int{"error": 0, "warning": 0, "note": 0}}
	for _, r := range reports {
		a := r.Analysis
		doc.Files = append(doc.Files, jsonFile{
			File: r.File, Class: a.Class.String(), Analysed: a.Analysed, Why: a.Why, Dynamic: a.Dynamic,
			Commands: append([]string{}, a.Commands...), Flags: a.Flags, Library: a.Library,
			Keys:     jsonCount{a.Contract.MinKeys, a.MaxKey, a.Contract.VariableKeys},
			Args:     jsonCount{a.Contract.MinArgs, a.MaxArg, a.Contract.VariableArgs},
			Findings: append([]Finding{}, a.Findings...),
		})
		for i := range a.Findings {
			doc.Counts[a.Findings[i].Level.String()]++
		}
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(doc)
}
