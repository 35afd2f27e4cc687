package backup

import (
	"archive/tar"
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"
)

type file struct {
	header tar.Header
	text   string
}

func archive(t *testing.T, format tar.Format, files ...file) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range files {
		f.header.Format, f.header.Size = format, int64(len(f.text))
		if err := w.WriteHeader(&f.header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(f.text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func dir(name string) file {
	return file{tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: 0o755}, ""}
}

func plain(name, text string) file {
	return file{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, ModTime: time.Unix(1e9, 0)}, text}
}

// Names lists the top-level directories of archives in all formats.
func TestNames(t *testing.T) {
	long, wide := strings.Repeat("l", 150), strings.Repeat("w", 90)
	f := func(format tar.Format, want string, files ...file) {
		t.Helper()
		in := archive(t, format, files...)
		names, err := Names(bytes.NewReader(in))
		slices.Sort(names)
		if err != nil || strings.Join(names, " ") != want {
			t.Errorf("%v: %q %v, want %q", format, names, err, want)
		}
	}
	all := []file{dir("./"), dir("./data/"), plain("data/f", "text"), plain("data/"+strings.Repeat("x", 512), ""), plain("b/c", strings.Repeat("z", 700)),
		{tar.Header{Typeflag: tar.TypeSymlink, Name: "data/up", Linkname: "../../../etc"}, ""},
		{tar.Header{Typeflag: tar.TypeLink, Name: "data/hard", Linkname: "data/f"}, ""}}
	f(tar.FormatGNU, "b data", all...)
	f(tar.FormatPAX, "b data", all...)
	f(tar.FormatUSTAR, "b data", append(all[:3:3], all[4:]...)...)
	f(tar.FormatGNU, wide, plain(wide+"/"+long, "x"))
	f(tar.FormatPAX, wide, plain(wide+"/"+long, "x"))
	f(tar.FormatUSTAR, wide, plain(wide+"/"+wide, "x"))
	f(tar.FormatPAX, "data", file{tar.Header{Typeflag: tar.TypeReg, Name: "data/f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "a\n9 size=7\n9 path=x"}}, "text"},
		plain("data/a size=3", strings.Repeat("x", 700)), plain("data/ü size=3", strings.Repeat("x", 700)))
	f(tar.FormatPAX, "", file{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"path": "no"}}, ""})
	f(tar.FormatGNU, "")

	// Some programs write the size of the file into a hard link, which has no content.
	link := archive(t, tar.FormatGNU, plain("data/f", "x"), file{tar.Header{Typeflag: tar.TypeLink, Name: "data/hard", Linkname: "data/f"}, ""}, dir("logs/"))
	copy(link[1024+124:], "00000001000\x00")
	if names, err := Names(bytes.NewReader(link)); err != nil || len(names) != 2 {
		t.Errorf("%q %v", names, err)
	}
}

// Names refuses an archive with other top-level entries than directories, and one that it cannot read to the end.
func TestRefused(t *testing.T) {
	f := func(in []byte, want string) {
		t.Helper()
		if names, err := Names(bytes.NewReader(in)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q %v, want %q", names, err, want)
		}
	}
	gnu := tar.FormatGNU
	f(archive(t, gnu, dir("data/"), plain("readme", "x")), "readme is not a directory")
	f(archive(t, gnu, file{tar.Header{Typeflag: tar.TypeSymlink, Name: "./data", Linkname: "/etc"}, ""}), "data is not a directory")
	for _, name := range []string{"../data/f", "data/../../f", ".."} {
		f(archive(t, gnu, plain(name, "x")), "leads out")
	}
	f(archive(t, tar.FormatPAX, plain("../l/"+strings.Repeat("l", 50), "x")), "leads out")
	f(archive(t, gnu, plain(strings.Repeat("l", 150)+"/f", "x")), "is not a directory")
	large := archive(t, tar.FormatPAX, file{tar.Header{Typeflag: tar.TypeReg, Name: "data/f", PAXRecords: map[string]string{"SCHILY.xattr.user.x": "a"}}, strings.Repeat("x", 600)})
	copy(large[1024+124:], "00000000000\x00")
	f(large, "broken")
	whole := archive(t, gnu, dir("data/"), plain("data/f", strings.Repeat("x", 600)))
	f(whole[:512+100], "unexpected EOF")
	f(whole[:1024+100], "unexpected EOF")
	whole[512+257] ^= 1
	f(whole, "broken")
	f(bytes.Repeat([]byte("no archive"), 100), "broken")
	holes := archive(t, gnu, plain("data/holes", "x"))
	holes[156] = 'S'
	f(holes, "data/holes is a sparse file")
}

func FuzzNames(f *testing.F) {
	f.Add(bytes.Repeat([]byte{0}, 1024))
	f.Fuzz(func(t *testing.T, in []byte) {
		names, err := Names(bytes.NewReader(in))
		for _, name := range names {
			if err != nil || name == "" || name == ".." || strings.Contains(name, "/") {
				t.Errorf("%q %v", names, err)
			}
		}
	})
}
