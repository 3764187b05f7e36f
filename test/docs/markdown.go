package docs

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// document is what the tests look at in a Markdown file.
type document struct {
	links   []string        // targets of links and images, in order
	anchors map[string]bool // fragments that lead to a heading, as GitHub makes them
	code    []string        // lines of code blocks, and inline code
}

var (
	fence      = regexp.MustCompile("^ {0,3}(```+|~~~+)")
	heading    = regexp.MustCompile(`^ {0,3}#{1,6} +(.*?)(?: +#+)? *$`)
	inlineCode = regexp.MustCompile("`([^`]+)`")
	link       = regexp.MustCompile(`!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?: +"[^"]*")?\)`)
	reference  = regexp.MustCompile(`^ {0,3}\[[^\]]+\]: +<?([^\s>]+)>?`)
	linkText   = regexp.MustCompile(`!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)`)
)

// parse reads a Markdown document line by line, as far as the tests need it.
func parse(text string) document {
	d := document{anchors: map[string]bool{}}
	fenced := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := fence.FindStringSubmatch(line); m != nil && (fenced == "" || strings.HasPrefix(m[1], fenced)) {
			if fenced == "" {
				fenced = m[1]
			} else {
				fenced = ""
			}
			continue
		}
		if fenced != "" {
			d.code = append(d.code, line)
			continue
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			d.addAnchor(m[1])
		}
		for _, m := range inlineCode.FindAllStringSubmatch(line, -1) {
			d.code = append(d.code, m[1])
		}
		plain := inlineCode.ReplaceAllString(line, "x") // code in a link's text is no end of it
		for _, m := range link.FindAllStringSubmatch(plain, -1) {
			d.links = append(d.links, m[1])
		}
		if m := reference.FindStringSubmatch(plain); m != nil {
			d.links = append(d.links, m[1])
		}
	}
	return d
}

// addAnchor adds a heading's fragment: lower case, blanks as hyphens, without punctuation, numbered when it is there already.
func (d *document) addAnchor(title string) {
	title = linkText.ReplaceAllString(title, "$1")
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	anchor := b.String()
	for n := 1; d.anchors[anchor]; n++ {
		anchor = fmt.Sprintf("%s-%d", b.String(), n)
	}
	d.anchors[anchor] = true
}

var (
	makeCall = regexp.MustCompile(`(?:^|[\s;&|$(])make((?: +[A-Za-z0-9_=.:/-]+)+)`)
	rule     = regexp.MustCompile(`(?m)^([A-Za-z0-9_./-]+(?: +[A-Za-z0-9_./-]+)*) *:(?:[^=]|$)`)
)

// makeTargets returns the targets that a line of shell asks make for.
func makeTargets(line string) []string {
	var targets []string
	for _, m := range makeCall.FindAllStringSubmatch(line, -1) {
		for _, word := range strings.Fields(m[1]) {
			if strings.Contains(word, "=") || strings.HasPrefix(word, "-") {
				continue
			}
			targets = append(targets, word)
		}
	}
	return targets
}

// rules returns the targets that a makefile has rules for.
func rules(makefile string) map[string]bool {
	targets := map[string]bool{}
	for _, m := range rule.FindAllStringSubmatch(makefile, -1) {
		for _, name := range strings.Fields(m[1]) {
			targets[name] = true
		}
	}
	return targets
}
