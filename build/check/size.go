package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// budgetFile holds the numbers that the program must keep within.
const budgetFile = "build/budget"

// Budget is one line of the budget file.
type Budget struct {
	Name     string
	Limit    int64
	Measured int64  // when the line was last touched
	Date     string // of that measurement
	Advice   string // what to do when it trips
}

// readBudgets reads the budget file: name, limit, measured value, date and advice, parted by white
// space; lines that begin with # are remarks.
func readBudgets(r io.Reader) ([]Budget, error) {
	var list []Budget
	s := bufio.NewScanner(r)
	for n := 1; s.Scan(); n++ {
		line := strings.TrimSpace(s.Text())
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 5 {
			return nil, fmt.Errorf("line %d: want name, limit, measured, date and advice", n)
		}
		limit, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: limit: %w", n, err)
		}
		measured, err := strconv.ParseInt(f[2], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("line %d: measured: %w", n, err)
		}
		list = append(list, Budget{f[0], limit, measured, f[3], strings.Join(f[4:], " ")})
	}
	return list, s.Err()
}

// checkSizes measures the programs in dist against the budget file.
func checkSizes(*Tree) ([]Problem, string, error) {
	file, err := os.Open(budgetFile)
	if err != nil {
		return nil, "", err
	}
	defer file.Close()
	budgets, err := readBudgets(file)
	if err != nil {
		return nil, "", fmt.Errorf("%s: %w", budgetFile, err)
	}
	var found []Problem
	var said []string
	for _, b := range budgets {
		size, err := measure(b.Name)
		if err != nil {
			return found, "", err
		}
		found = append(found, over(b, size)...)
		said = append(said, fmt.Sprintf("%s %d of %d", b.Name, size, b.Limit))
	}
	return found, strings.Join(said, "; "), nil
}

func over(b Budget, size int64) []Problem {
	if size <= b.Limit {
		return nil
	}
	return []Problem{Problem(fmt.Sprintf("%s is %d bytes, %d over its budget of %d (it was %d on %s): %s",
		b.Name, size, size-b.Limit, b.Limit, b.Measured, b.Date, b.Advice))}
}

// measure returns the size of what a budget is about: "armv6" is dist's program for that
// architecture, "armv6-xz" the same after xz -9e.
func measure(name string) (int64, error) {
	arch, packed := strings.CutSuffix(name, "-xz")
	file := filepath.Join("dist", module+"-linux-"+arch)
	if packed {
		out, err := command(nil, "xz", "-9e", "-c", file)
		return int64(len(out)), err
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, fmt.Errorf("%w (make arm builds it)", err)
	}
	return info.Size(), nil
}
