package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// conformance says which test shows each line of a specification's checklist: tables whose rows begin
// with the number of the line, and name tests as `file_test.go: TestOne, TestTwo`.
const conformance = "docs/CONFORMANCE.md"

// checkConformance wants every test that is named to exist, and no number left out between two rows.
func checkConformance(*Tree) ([]Problem, string, error) {
	text, err := os.ReadFile(conformance)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "no " + conformance, nil
	}
	sources := map[string]string{}
	has := func(file, test string) bool {
		if _, read := sources[file]; !read {
			src, _ := os.ReadFile(file) // a missing file has no test
			sources[file] = string(src)
		}
		return strings.Contains(sources[file], "func "+test+"(")
	}
	found, rows := conforms(string(text), has)
	return found, fmt.Sprintf("%d checklist lines", rows), err
}

// conforms checks tables; has tells whether a file has a test.
func conforms(text string, has func(file, test string) bool) (found []Problem, rows int) {
	last := 0
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "#") {
			last = 0 // another specification
		}
		cells := strings.SplitN(line, "|", 3)
		if len(cells) < 3 {
			continue
		}
		n, err := strconv.Atoi(strings.TrimSpace(cells[1]))
		if err != nil {
			continue
		}
		if n != last+1 {
			found = append(found, Problem(fmt.Sprintf("%s: row %d comes after row %d", conformance, n, last)))
		}
		last, rows = n, rows+1
		for _, missing := range missingTests(cells[2], has) {
			found = append(found, Problem(fmt.Sprintf("%s: row %d: there is no %s", conformance, n, missing)))
		}
	}
	return found, rows
}

// missingTests lists the tests that a row names and that do not exist.
func missingTests(row string, has func(file, test string) bool) (missing []string) {
	for i, part := range strings.Split(row, "`") {
		file, tests, ok := strings.Cut(part, ": ")
		if i%2 == 0 || !ok || !strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, test := range strings.Split(tests, ", ") {
			if !has(file, test) {
				missing = append(missing, file+": "+test)
			}
		}
	}
	return missing
}
