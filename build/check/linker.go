package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// unwanted are parts of libraries that only a careless call keeps in the program.
var unwanted = []Ban{
	{"github.com/klauspost/compress/zstd.(*Decoder)", "something reaches fasthttp's decompression, which costs 532 KiB"},
	{"github.com/klauspost/compress/zstd.(*Encoder)", "something reaches fasthttp's compression, which costs 516 KiB"},
	{"github.com/valyala/fasthttp.(*fsHandler)", "something reaches fasthttp's file server, which costs 2.2 MiB"},
}

// Symbol is a named part of a program and its size in the file.
type Symbol struct {
	Name string
	Size int64
}

// checkLinker asks the linker whether it could drop unused methods, and looks for parts that should
// have been dropped.
func checkLinker(*Tree) ([]Problem, string, error) {
	dump, symbols, err := linkUnstripped()
	if err != nil {
		return nil, "", err
	}
	return append(byName(dump), kept(symbols)...), "unused methods are dropped", nil
}

// byName lists where methods are looked up by name, going by what the linker says of what holds what.
func byName(dump string) []Problem {
	var found []Problem
	for line := range strings.Lines(dump) {
		if strings.Contains(line, "<ReflectMethod>") {
			found = append(found, Problem("methods are looked up by name, so none can be dropped: "+strings.TrimSpace(line)))
		}
	}
	return found
}

// kept lists the unwanted parts that are in the program.
func kept(symbols []Symbol) []Problem {
	var found []Problem
	for _, u := range unwanted {
		if slices.ContainsFunc(symbols, func(s Symbol) bool { return strings.HasPrefix(s.Name, u.Path) }) {
			found = append(found, Problem(u.Path+" is linked in: "+u.Why))
		}
	}
	return found
}

// linkUnstripped builds the ARMv6 program with its symbols into a temporary folder and returns what
// the linker says of what holds what, and the symbols.
func linkUnstripped() (dump string, symbols []Symbol, err error) {
	dir, err := os.MkdirTemp("", "check")
	if err != nil {
		return "", nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, module)
	if dump, err = dumpLink(file); err != nil {
		return "", nil, err
	}
	symbols, err = readSymbols(file)
	return dump, symbols, err
}

// dumpLink builds the ARMv6 program; the linker writes its list to standard error.
func dumpLink(file string) (string, error) {
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-dumpdep", "-o", file, ".")
	build.Env = append(os.Environ(), armv6...)
	dump, err := build.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, dump)
	}
	if !bytes.Contains(dump, []byte(" -> ")) {
		return "", errors.New("the linker no longer lists what holds what: -dumpdep printed no arrow")
	}
	return string(dump), nil
}

// readSymbols lists the symbols of a program that take room in its file.
func readSymbols(file string) ([]Symbol, error) {
	f, err := elf.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var list []Symbol
	for _, s := range all {
		section := int(s.Section)
		if section > 0 && section < len(f.Sections) && f.Sections[section].Type != elf.SHT_NOBITS {
			list = append(list, Symbol{s.Name, int64(s.Size)})
		}
	}
	return list, nil
}

// printCosts prints the bytes that each package puts into the ARMv6 program, largest first.
func printCosts(_ *Tree, w io.Writer) error {
	_, symbols, err := linkUnstripped()
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, s := range costs(symbols) {
		fmt.Fprintf(&b, "%9d  %s\n", s.Size, s.Name)
	}
	_, err = w.Write(b.Bytes())
	return err
}

// costs adds up symbols by package, largest sum first. Symbols of no package, such as type
// descriptors and the line table, are under (go).
func costs(symbols []Symbol) []Symbol {
	sums := map[string]int64{}
	for _, s := range symbols {
		sums[packageOf(s.Name)] += s.Size
	}
	var list []Symbol
	for name, size := range sums {
		list = append(list, Symbol{name, size})
	}
	slices.SortFunc(list, func(a, b Symbol) int {
		if a.Size != b.Size {
			return int(b.Size - a.Size)
		}
		return strings.Compare(a.Name, b.Name)
	})
	return list
}

// packageOf is the package a symbol belongs to.
func packageOf(symbol string) string {
	name, _, _ := strings.Cut(symbol, "[")
	if strings.HasPrefix(name, "type:") || strings.HasPrefix(name, "go:") || strings.HasPrefix(name, "$") {
		return "(go)"
	}
	slash := strings.LastIndexByte(name, '/') + 1
	pkg, _, hasDot := strings.Cut(name[slash:], ".")
	if !hasDot {
		return "(go)"
	}
	return name[:slash] + pkg
}
