package version

import (
	"strings"
	"testing"
)

func TestFromDescribe(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got := fromDescribe(in)
		if got != want {
			t.Errorf("fromDescribe(%q) = %q, want %q", in, got, want)
		}
		if !isVersion(got) {
			t.Errorf("fromDescribe(%q) = %q is not semver", in, got)
		}
	}
	f("", "20.0.0-dev")
	f("v20.0.0", "20.0.0")
	f("20.1.0", "20.1.0")
	f("v20.0.0-3-gabc1234", "20.0.0+3.abc1234")
	f("v20.0.0-3-gabc1234-dirty", "20.0.0+abc1234.dirty")
	f("v20.0.0-dirty", "20.0.0+dirty")
	f("v20.1.0-rc.1", "20.1.0-rc.1")
	f("v20.1.0-rc.1-7-g0012345", "20.1.0-rc.1+7.0012345")
	f("20.1.0+shop", "20.1.0+shop")
	f("v20.1.0+shop-2-gabc1234", "20.1.0+shop.2.abc1234")
	f("abc1234", "20.0.0+abc1234")
	f("0012345", "20.0.0+0012345")
	f("abc1234-dirty", "20.0.0+abc1234.dirty")
	f("release/north pole", "20.0.0+release-north-pole")
	f("1.2", "20.0.0+1-2")
	f("01.2.3", "20.0.0+01-2-3")
	f("1.2.3-01", "20.0.0+1-2-3-01")
	f("1.2.3+", "20.0.0+1-2-3-")
}

func TestUsualFormsFitTheCloudsColumn(t *testing.T) {
	for _, in := range []string{"", "v20.0.0-99-gabc1234", "v20.10.10-9-gabc1234", "v20.0.0-99-gabc1234-dirty", "abc1234-dirty"} {
		if got := fromDescribe(in); len(got) > 20 {
			t.Errorf("fromDescribe(%q) = %q has %d characters, the cloud keeps 20", in, got, len(got))
		}
	}
}

func TestUnstampedBuildIsTheDevelopmentVersion(t *testing.T) {
	if stamp == "" && String() != "20.0.0-dev" {
		t.Errorf("String() = %q", String())
	}
}

func TestWith(t *testing.T) {
	if got := With(""); got != String() {
		t.Errorf("nothing more gives %q", got)
	}
	got := With("shop 1")
	if !isVersion(got) || !strings.HasPrefix(got, String()) || !strings.HasSuffix(got, "shop-1") || strings.Count(got, "+") != 1 {
		t.Errorf("With(shop 1) = %q", got)
	}
}

func FuzzFromDescribe(f *testing.F) {
	for _, s := range []string{"", "v1.2.3-4-gabc", "x-dirty", "1.2.3-a..b", "v1.2.3+b-1-gf"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got := fromDescribe(s); !isVersion(got) {
			t.Errorf("fromDescribe(%q) = %q is not semver", s, got)
		}
	})
}
