package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/scanner"
	"go/token"
	"os"
	"path"
	"slices"
	"strings"
)

// The shape that lets somebody read the product: how large a room, a function and a struct may be.
const (
	maxRoomLines     = 3500 // of code, without comments, blank lines and tests
	maxNewRoomLines  = 2000
	maxFunctionLines = 60 // with its comments
	maxFields        = 20
)

// oldRooms were there before the rule of maxNewRoomLines.
var oldRooms = []string{"api", "hostos", "update/cloud", "update/compose", "update/target"}

// documents are structs of data, as somebody else defined it or for readers. They may have more fields than a struct of
// state.
var documents = []string{"update/plan.Step", "update/compose.Facts", "update/current.Container"}

// checkShape wants rooms, functions and structs that can be read in one sitting.
func checkShape(t *Tree) ([]Problem, string, error) {
	files, err := t.GoFiles()
	if err != nil {
		return nil, "", err
	}
	var found []Problem
	lines := map[string]int{}
	for _, name := range files {
		room := path.Dir(name)
		if strings.HasSuffix(name, "_test.go") || strings.HasPrefix(room, "test") || strings.HasPrefix(room, "build") {
			continue
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, "", err
		}
		lines[room] += codeLines(text)
		problems, err := shapeOf(name, room, string(text))
		if err != nil {
			return nil, "", err
		}
		found = append(found, problems...)
	}
	for room, n := range lines {
		most := maxNewRoomLines
		if slices.Contains(oldRooms, room) {
			most = maxRoomLines
		}
		if n > most {
			found = append(found, Problem(fmt.Sprintf("%s has %d lines of code, more than %d: it is two rooms", room, n, most)))
		}
	}
	slices.Sort(found)
	return found, fmt.Sprintf("%d rooms, functions up to %d lines", len(lines), maxFunctionLines), nil
}

// codeLines counts the lines of a Go file that have more than a comment.
func codeLines(text []byte) int {
	lines := map[int]bool{}
	set := token.NewFileSet()
	file := set.AddFile("", -1, len(text))
	var s scanner.Scanner
	s.Init(file, text, nil, 0)
	for pos, tok, _ := s.Scan(); tok != token.EOF; pos, tok, _ = s.Scan() {
		lines[file.Line(pos)] = true
	}
	return len(lines)
}

// shapeOf is what is too large in a file.
func shapeOf(name, room, text string) (found []Problem, err error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, text, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			if lines := set.Position(n.End()).Line - set.Position(n.Pos()).Line + 1; lines > maxFunctionLines {
				found = append(found, Problem(fmt.Sprintf("%s: %s has %d lines, more than %d", name, n.Name.Name, lines, maxFunctionLines)))
			}
		case *ast.TypeSpec:
			s, ok := n.Type.(*ast.StructType)
			if !ok || slices.Contains(documents, room+"."+n.Name.Name) || room == "update/engine/doc" || room == "update/view" {
				return true
			}
			if fields := s.Fields.NumFields(); fields > maxFields {
				found = append(found, Problem(fmt.Sprintf("%s: %s has %d fields, more than %d: group them", name, n.Name.Name, fields, maxFields)))
			}
		}
		return true
	})
	return found, nil
}
