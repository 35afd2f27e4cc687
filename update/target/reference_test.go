package target

import (
	"strings"
	"testing"
)

func TestNormalise(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		got, err := Normalise(in)
		if err != nil || got != want {
			t.Fatalf("%s: %q (%v), want %q", in, got, err, want)
		}
		again, err := Normalise(got)
		if err != nil || again != got {
			t.Fatalf("%s: normalised twice %q (%v)", in, again, err)
		}
	}
	f("busybox", "busybox:latest")
	f("busybox:1.36", "busybox:1.36")
	f("library/busybox", "library/busybox:latest")
	f("localhost/a", "localhost/a:latest")
	f("localhost:5000/a/b:c", "localhost:5000/a/b:c")
	f("127.0.0.1:5000/a", "127.0.0.1:5000/a:latest")
	f("[::1]:5000/a:b", "[::1]:5000/a:b")
	f("r.io/v2/a@"+digest, "r.io/v2/a@"+digest)
	f("r.io/v2/a:tag@"+digest, "r.io/v2/a@"+digest)
	f("a@md5:0123456789abcdef0123456789ABCDEF", "a@md5:0123456789abcdef0123456789ABCDEF")
	f("shop/Web_1.x-y:V1_2", "shop/Web_1.x-y:V1_2")
	f("a:"+strings.Repeat("t", 128), "a:"+strings.Repeat("t", 128))
}

func TestNormaliseRefuses(t *testing.T) {
	for _, in := range []string{
		"", ":", "@", "/", "a/", "/a", "a//b", "a:", "a@", "a b", "a:b:c", "a:.x", "a:-x", "a/b:c/d", "-a", "r.io/",
		"a@sha256", "a@sha256:", "a@sha256:0123", "a@:" + digest[7:], "a@" + digest + "z", "a@" + digest + "@" + digest,
		"r.io:é/a", "ä", "a\n", "a:" + strings.Repeat("t", 129),
	} {
		if got, err := Normalise(in); err == nil {
			t.Errorf("%q was taken as %q", in, got)
		}
	}
}

func TestParseReference(t *testing.T) {
	f := func(in string, want Reference, name string) {
		t.Helper()
		got, err := ParseReference(in)
		if err != nil || got != want || got.Name() != name {
			t.Fatalf("%s: %+v %s (%v), want %+v %s", in, got, got.Name(), err, want, name)
		}
	}
	f("a", Reference{Repo: "a"}, "a")
	f("a/b:c", Reference{Repo: "a/b", Tag: "c"}, "a/b")
	f("r:80/a/b:c@"+digest, Reference{Registry: "r:80", Repo: "a/b", Tag: "c", Digest: digest}, "r:80/a/b")
}

func FuzzReference(f *testing.F) {
	for _, seed := range []string{"a", "r.io:80/a/b:c@" + digest, "localhost/a", "a@b", "[::1]:5/a", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in string) {
		name, err := Normalise(in)
		if err != nil {
			return
		}
		if again, err := Normalise(name); err != nil || again != name {
			t.Fatalf("%q normalised to %q, then to %q (%v)", in, name, again, err)
		}
	})
}
