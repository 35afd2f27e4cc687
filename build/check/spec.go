package main

import (
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// specDir holds the specification. Comments and pages name its parts as `engine.md 5.5`, `cloud.md Q1`
// or `device-api.md 4: 12`; the last one is line 12 of the checklist in section 4.
const specDir = "docs/spec"

var (
	headingRef  = regexp.MustCompile(`(?:^#+ (?:Appendix )?|, )([A-Z]\.[0-9]+|[0-9]+(?:\.[0-9]+)*)\b`)
	rowRef      = regexp.MustCompile(`^\| *\**([A-Z][0-9]+|[0-9]+)\** *\|`)
	itemRef     = regexp.MustCompile(`^([0-9]+)\. `)
	namesSpec   = regexp.MustCompile(`\b(engine|cloud|device-api|host)\.md`)
	nextRef     = regexp.MustCompile(`^(?:,|;|:| and| or| to|'s| sections?| lines?| checklist| table)*[ ]+(?:section |line |lines |sections )?([A-Z]\.[0-9]+|[A-Z]?[0-9]+(?:\.[0-9]+)*)\b`)
	commentWrap = regexp.MustCompile(`\n[ \t]*(//|#|\|)?[ \t]*`)
)

// checkSpec wants every part of the specification that a comment or a page names to exist.
func checkSpec(t *Tree) ([]Problem, string, error) {
	known, err := readSpec(specDir)
	if err != nil {
		return nil, "", err
	}
	files, err := t.Files()
	var found []Problem
	named := 0
	for _, name := range files {
		if strings.HasPrefix(name, specDir) || !mayNameSpec(name) {
			continue
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return found, "", err
		}
		missing, n := missingParts(string(src), known)
		named += n
		for _, part := range missing {
			found = append(found, Problem(fmt.Sprintf("%s names %s, which %s does not have", name, part, specDir)))
		}
	}
	return found, fmt.Sprintf("%d references", named), err
}

// mayNameSpec reports whether a file is one in which people write references.
func mayNameSpec(name string) bool {
	switch path.Ext(name) {
	case ".go", ".sh", ".md", ".service", ".bb":
		return !strings.HasPrefix(name, "build/check/")
	}
	return path.Base(name) == "Makefile"
}

// readSpec lists the parts of each document: numbers of headings, the first cell of table rows, and
// numbered lines of checklists.
func readSpec(dir string) (map[string]map[string]bool, error) {
	pages, err := filepath.Glob(filepath.Join(dir, "*.md"))
	if err != nil {
		return nil, err
	}
	known := map[string]map[string]bool{}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			return nil, err
		}
		known[filepath.Base(page)] = parts(string(text))
	}
	return known, nil
}

func parts(text string) map[string]bool {
	list := map[string]bool{}
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "#") {
			for _, m := range headingRef.FindAllStringSubmatch(line, -1) {
				list[m[1]] = true
			}
		}
		for _, shape := range []*regexp.Regexp{rowRef, itemRef} {
			if m := shape.FindStringSubmatch(line); m != nil {
				list[m[1]] = true
			}
		}
	}
	return list
}

// missingParts lists the references of a text that lead nowhere, and counts all.
func missingParts(text string, known map[string]map[string]bool) (missing []string, count int) {
	text = commentWrap.ReplaceAllString(text, " ")
	for _, at := range namesSpec.FindAllStringIndex(text, -1) {
		page, rest := text[at[0]:at[1]], text[at[1]:]
		if _, ok := known[page]; !ok {
			missing = append(missing, page)
		}
		for m := nextRef.FindStringSubmatchIndex(rest); m != nil; m = nextRef.FindStringSubmatchIndex(rest) {
			part := rest[m[2]:m[3]]
			count++
			if !known[page][part] {
				missing = append(missing, page+" "+part)
			}
			rest = rest[m[1]:]
		}
	}
	return missing, count
}
