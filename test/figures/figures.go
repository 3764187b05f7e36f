// Package figures puts what programs have measured into its places in documents.
package figures

import (
	"fmt"
	"os"
	"strings"
)

// Put replaces what stands between the lines
//
//	<!-- begin PLACE: COMMAND -->
//	<!-- end PLACE -->
//
// of a document. COMMAND says to readers what wrote it. It is an error when the document does not have the place once.
func Put(path, place, text string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("put figures into a document: %w", err)
	}
	before, rest, begins := strings.Cut(string(data), "<!-- begin "+place+": ")
	comment, rest, closed := strings.Cut(rest, " -->\n")
	_, after, ends := strings.Cut(rest, "<!-- end "+place+" -->\n")
	if !begins || !closed || !ends || strings.Contains(comment, "\n") || strings.Contains(after, "<!-- begin "+place+": ") {
		return fmt.Errorf("%s does not have the lines <!-- begin %s: COMMAND --> and <!-- end %s --> once", path, place, place)
	}
	whole := fmt.Sprintf("%s<!-- begin %s: %s -->\n\n%s\n\n<!-- end %s -->\n%s", before, place, comment, strings.TrimSpace(text), place, after)
	if err := os.WriteFile(path, []byte(whole), 0o644); err != nil {
		return fmt.Errorf("put figures into a document: %w", err)
	}
	return nil
}
