package hostos

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const balenaOS = `ID="balena-os"
NAME="balenaOS"
VERSION="6.4.1+rev2"
PRETTY_NAME="balenaOS 6.4.1+rev2"
MACHINE="raspberrypi3"
VARIANT_ID="prod"
BALENA_BOARD_REV="7a3c1e2"
SLUG="raspberrypi3"
`

func TestReadOSRelease(t *testing.T) {
	path := filepath.Join(t.TempDir(), "os-release")
	if _, err := ReadOSRelease(path); !os.IsNotExist(err) {
		t.Fatalf("missing file: got %v", err)
	}
	if err := os.WriteFile(path, []byte(balenaOS), 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := ReadOSRelease(path)
	if err != nil || r["PRETTY_NAME"] != "balenaOS 6.4.1+rev2" || r["ID"] != "balena-os" || r["VERSION"] != "6.4.1+rev2" || len(r) != 8 {
		t.Fatalf("got %v, %v", r, err)
	}
}

func TestParseOSRelease(t *testing.T) {
	for text, want := range map[string]OSRelease{
		"":                            {},
		"A=1\nB=2":                    {"A": "1", "B": "2"},
		"A=1\r\nB=2\r\n":              {"A": "1", "B": "2"},
		"# A=1\n\n  B=2  \n":          {"B": "2"},
		"A=1\nA=2\n":                  {"A": "2"},
		"A=\nB=\"\"\nC=''":            {"A": "", "B": "", "C": ""},
		`A="x \"y\" \$z \\ \q"`:       {"A": `x "y" $z \ \q`},
		`A='x \" $y'`:                 {"A": `x \" $y`},
		`A="a"'b'c\ d`:                {"A": "abc d"},
		"A=a b\n":                     {"A": "a"},
		`A="a#b" # note`:              {"A": "a#b"},
		"A=b=c":                       {"A": "b=c"},
		"A=\"open\nB=2":               {"B": "2"},
		"A=x\\\nB=2":                  {"B": "2"},
		"1A=x\nA-B=x\n=x\nA\nA =x\nB": {},
		"_a9=x":                       {"_a9": "x"},
	} {
		if got := parseOSRelease(text); !maps.Equal(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestVariantAndBoardRevision(t *testing.T) {
	f := func(text string, development bool, variant, revision string) {
		t.Helper()
		r := parseOSRelease(text)
		if got := r.Variant(development); got != variant {
			t.Errorf("%s: variant %q, want %q", text, got, variant)
		}
		if got := r.BoardRevision(); got != revision {
			t.Errorf("%s: revision %q, want %q", text, got, revision)
		}
	}
	f(balenaOS, true, "prod", "7a3c1e2")
	f("VARIANT_ID=dev\nRESIN_BOARD_REV=old", false, "dev", "old")
	f("RESIN_BOARD_REV=old\nBALENA_BOARD_REV=new", false, "prod", "new")
	f("", true, "dev", "")
}

func FuzzParseOSRelease(f *testing.F) {
	f.Add(balenaOS)
	f.Add("A='b\nC=\"\\\"")
	f.Fuzz(func(t *testing.T, text string) {
		for name, value := range parseOSRelease(text) {
			if !isVariable(name) || !strings.Contains(text, name+"=") || len(value) > len(text) {
				t.Fatalf("%q=%q from %q", name, value, text)
			}
			// the result can be written and read again
			quoted := name + "='" + strings.ReplaceAll(value, "'", `'\''`) + "'"
			if again := parseOSRelease(quoted); !strings.ContainsAny(value, "\n") && again[name] != value {
				t.Fatalf("%q: got %q, want %q", quoted, again[name], value)
			}
		}
	})
}
