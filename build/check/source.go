package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path"
	"slices"
	"strings"
)

// maxLines is the length of a file from which it is two subjects.
const maxLines = 600

// checkFormat wants every Go file as gofmt writes it.
func checkFormat(t *Tree) ([]Problem, string, error) {
	files, err := t.GoFiles()
	var found []Problem
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			return found, "", err
		}
		if tidy, err := format.Source(src); err != nil {
			found = append(found, Problem(fmt.Sprintf("%s: %v", name, err)))
		} else if !bytes.Equal(src, tidy) {
			found = append(found, Problem(name+": gofmt -w "+name))
		}
	}
	return found, fmt.Sprintf("%d Go files", len(files)), err
}

// checkVet runs go vet over both modules.
func checkVet(*Tree) ([]Problem, string, error) {
	var found []Problem
	for _, dir := range []string{".", "test"} {
		if _, err := commandIn(dir, nil, "go", "vet", "./..."); err != nil {
			found = append(found, Problem(strings.ReplaceAll(dir+": "+err.Error(), "\n", "\n      ")))
		}
	}
	return found, "product and test module", nil
}

// checkPackageComments wants a sentence at the head of every package.
func checkPackageComments(t *Tree) ([]Problem, string, error) {
	files, err := t.GoFiles()
	documented := map[string]bool{}
	for _, name := range files {
		src, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return nil, "", err
		}
		dir := path.Dir(name)
		documented[dir] = documented[dir] || src.Doc != nil
	}
	var found []Problem
	for dir, ok := range documented {
		if !ok {
			found = append(found, Problem(dir+" has no package comment"))
		}
	}
	slices.Sort(found)
	return found, fmt.Sprintf("%d packages", len(documented)), err
}

// machineWords are paths and hosts that only a machine the tree was built on can have put there.
// They are written in two parts so that this file does not hold them itself.
var machineWords = []string{"/wor" + "k/", "/root/" + "go", "/root/" + ".cache", "proxy." + "golang.org", "sum." + "golang.org",
	"deb." + "debian.org", "registry." + "npmjs.org", "py" + "pi.org"}

// checkSource looks for words and shapes that do not belong into the tree.
func checkSource(t *Tree) ([]Problem, string, error) {
	files, err := t.Files()
	var found []Problem
	for _, name := range files {
		src, err := os.ReadFile(name)
		if err != nil {
			return found, "", err
		}
		found = append(found, badWords(name, src)...)
		if strings.HasSuffix(name, ".go") {
			shapes, err := badShapes(name, src)
			if err != nil {
				return found, "", err
			}
			found = append(found, shapes...)
		}
	}
	return found, fmt.Sprintf("%d files", len(files)), err
}

// badWords lists the traces of a build machine in a text file.
func badWords(name string, src []byte) []Problem {
	if bytes.IndexByte(src, 0) >= 0 {
		return nil // not text
	}
	var found []Problem
	for i, line := range strings.Split(string(src), "\n") {
		for _, word := range machineWords {
			if at := strings.Index(line, word); at >= 0 && !inWord(line, at) {
				found = append(found, Problem(fmt.Sprintf("%s:%d: %q belongs to a build machine", name, i+1, word)))
			}
		}
	}
	return found
}

// inWord reports whether the path at line[at:] goes on from something before it, as the last part
// of /mnt/x/y does.
func inWord(line string, at int) bool {
	if at == 0 {
		return false
	}
	c := line[at-1]
	return c == '.' || c == '}' || c == '-' || c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// heavyCalls pull whole libraries into the program, or keep the linker from dropping methods.
var heavyCalls = map[string]string{
	"MethodByName":     "keeps the linker from dropping methods, up to 4.2 MiB",
	"SendFile":         "fasthttp's file server costs 2.2 MiB",
	"ServeFile":        "fasthttp's file server costs 2.2 MiB",
	"FSHandler":        "fasthttp's file server costs 2.2 MiB",
	"CompressHandler":  "costs 516 KiB: brotli and zstd",
	"BodyUncompressed": "costs 532 KiB: brotli and zstd; ask for gzip and use the standard reader",
	"MultipartForm":    "costs 116 KiB",
	"ServeTLS":         "costs 352 KiB; the device API has no TLS",
	"ConsoleWriter":    "costs 60 KiB",
}

// fileCalls are calls of package os, and of unix, that only hostos/file makes: it alone knows how a write
// outlives a power cut, and how a read neither waits for a FIFO nor takes all memory.
var fileCalls = []string{"ReadFile", "WriteFile", "Open", "Create", "CreateTemp", "Rename", "Renameat2", "Truncate"}

func isFileCall(n *ast.SelectorExpr) bool {
	from, _ := n.X.(*ast.Ident)
	return from != nil && (from.Name == "os" || from.Name == "unix" && n.Sel.Name != "Open") && slices.Contains(fileCalls, n.Sel.Name)
}

// badShapes lists what a Go file should say otherwise: the long name of any, calls that cost too
// much or that one room keeps to itself, too many subjects in one file.
func badShapes(name string, src []byte) ([]Problem, error) {
	set := token.NewFileSet()
	file, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var found []Problem
	at := func(n ast.Node, why string) {
		found = append(found, Problem(fmt.Sprintf("%s:%d: %s", name, set.Position(n.Pos()).Line, why)))
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.InterfaceType:
			if len(n.Methods.List) == 0 {
				at(n, "say any for the empty interface")
			}
		case *ast.SelectorExpr:
			if why := heavyCalls[n.Sel.Name]; why != "" && isProduct(name) {
				at(n, n.Sel.Name+" "+why)
			}
			if isFileCall(n) && isProduct(name) && path.Dir(name) != "hostos/file" {
				at(n, n.Sel.Name+" is for hostos/file alone: use file.Read, file.Open or file.Write")
			}
		}
		return true
	})
	if count := bytes.Count(src, []byte("\n")); count > maxLines {
		found = append(found, Problem(fmt.Sprintf("%s has %d lines: from %d on it is two subjects", name, count, maxLines)))
	}
	return found, nil
}

// isProduct reports whether a Go file is linked into the program.
func isProduct(name string) bool {
	return !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(name, "test/") && !slices.Contains(tools, path.Dir(name))
}
