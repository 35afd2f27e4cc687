package lock

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// fixture is a lock directory below a temporary root. It needs root, for chown.
type fixture struct {
	*testing.T
	*Dir
	root string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("lock files are given to another user: run this test as root")
	}
	root := t.TempDir()
	return fixture{t, New(root), root}
}

func (f fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// file makes a service's directory and returns the path of a file in it.
func (f fixture) file(app, service, name string) string {
	f.Helper()
	dir := filepath.Join(f.root, "tmp/balena-supervisor/services", app, service)
	f.must(os.MkdirAll(dir, 0o755))
	return filepath.Join(dir, name)
}

// lock makes a user's lock file and returns its path.
func (f fixture) lock(app, service, name string) string {
	f.Helper()
	path := f.file(app, service, name)
	f.must(os.WriteFile(path, nil, 0o600))
	return path
}

// ours makes a lock file of an earlier run of the supervisor.
func (f fixture) ours(app, service, name string) string {
	f.Helper()
	path := f.lock(app, service, name)
	f.must(os.Chown(path, owner, -1))
	return path
}

// expect compares the entries of a service's directory with name:uid words.
func (f fixture) expect(app, service string, want ...string) {
	f.Helper()
	list, err := os.ReadDir(filepath.Join(f.root, "tmp/balena-supervisor/services", app, service))
	f.must(err)
	got := []string{}
	for _, entry := range list {
		info, err := entry.Info()
		f.must(err)
		who := "other"
		switch info.Sys().(*syscall.Stat_t).Uid {
		case owner:
			who = "ours"
		case 0:
			who = "user"
		}
		got = append(got, entry.Name()+":"+who)
	}
	if !slices.Equal(got, want) {
		f.Fatalf("app %s service %s: got %v, want %v", app, service, got, want)
	}
}

// both are the entries of a locked service's directory.
var both = []string{"resin-updates.lock:ours", "updates.lock:ours"}

// wantHeld checks all fields of the error.
func (f fixture) wantHeld(err error, service, path string) {
	f.Helper()
	var held *HeldError
	if !errors.As(err, &held) || *held != (HeldError{7, service, path}) {
		f.Fatalf("got %v (%+v), want it held at %s", err, held, path)
	}
	if want := "Lockfile exists for { appId: 7, service: " + service + " }"; err.Error() != want {
		f.Fatalf("got %q, want %q", err, want)
	}
}

func TestTakeAndRelease(t *testing.T) {
	f := newFixture(t)
	f.must(f.Take(7, []string{"web", "db"}, false))
	f.must(f.Take(8, []string{"web"}, false))
	f.expect("7", "web", both...)
	f.expect("7", "db", both...)
	info, err := os.Stat(f.file("7", "web", ""))
	f.must(err)
	if info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		f.Fatalf("directory mode %v", info.Mode())
	}
	if service, held := f.UserLock(7); held {
		f.Fatalf("own lock of %s counts as a user's", service)
	}
	f.must(f.Take(7, []string{"web"}, false)) // held already
	f.must(f.Release(7))
	f.expect("7", "web")
	f.expect("7", "db")
	f.expect("8", "web", both...)
	f.must(f.Release(7))
	f.must(f.Release(99))
}

func TestTakeRefusesUserLocks(t *testing.T) {
	for _, name := range names {
		for kind, make := range map[string]func(f fixture, path string){
			"file":          func(f fixture, path string) { f.must(os.WriteFile(path, nil, 0o600)) },
			"directory":     func(f fixture, path string) { f.must(os.Mkdir(path, 0o755)) },
			"dangling link": func(f fixture, path string) { f.must(os.Symlink("/nowhere", path)) },
			"link to ours": func(f fixture, path string) {
				f.ours("6", "x", "updates.lock")
				f.must(os.Symlink("../../6/x/updates.lock", path))
			},
			"other user": func(f fixture, path string) {
				f.must(os.WriteFile(path, nil, 0o600))
				f.must(os.Chown(path, 1000, 1000))
			},
			"nobody's directory": func(f fixture, path string) {
				f.must(os.Mkdir(path, 0o755))
				f.must(os.Chown(path, owner, owner))
			},
			"socket": func(f fixture, path string) { f.must(syscall.Mknod(path, syscall.S_IFSOCK|0o600, 0)) },
		} {
			t.Run(name+" "+kind, func(t *testing.T) {
				f := newFixture(t)
				path := f.file("7", "web", name)
				make(f, path)
				before, err := os.Lstat(path)
				f.must(err)
				f.file("7", "db", "")
				f.ours("7", "old", "updates.lock")
				if service, held := f.UserLock(7); !held || service != "web" {
					f.Fatalf("user lock: %q, %v", service, held)
				}
				f.wantHeld(f.Take(7, []string{"new", "db", "web"}, false), "web", path)
				if list, err := f.Services(7); err != nil || slices.Contains(list, "new") {
					f.Fatalf("a refused take made a directory: %v, %v", list, err)
				}
				after, err := os.Lstat(path)
				if err != nil || !os.SameFile(before, after) {
					f.Fatal("the user's lock was touched")
				}
				f.expect("7", "db")
				f.expect("7", "old")
				f.must(f.Take(8, []string{"web"}, false)) // another app
				f.must(f.Take(7, []string{"db"}, false))  // not among the services

				f.must(f.Take(7, []string{"db", "web"}, true))
				f.expect("7", "web", both...)
				if _, held := f.UserLock(7); held {
					f.Fatal("the user's lock survived force")
				}
				f.must(f.Release(7))
				f.expect("7", "web")
			})
		}
	}
}

func TestForceFailsOnADirectoryThatIsNotEmpty(t *testing.T) {
	f := newFixture(t)
	path := f.file("7", "web", "updates.lock")
	f.must(os.Mkdir(path, 0o755))
	f.must(os.WriteFile(filepath.Join(path, "x"), nil, 0o600))
	f.wantHeld(f.Take(7, []string{"db", "web"}, true), "web", path)
	f.expect("7", "db")
	f.expect("7", "web", "updates.lock:user")
}

func TestTakeNeverFollowsLinks(t *testing.T) {
	f := newFixture(t)
	outside := t.TempDir()
	target := filepath.Join(outside, "precious")
	f.must(os.WriteFile(target, []byte("x"), 0o600))
	path := f.file("7", "web", "updates.lock")
	f.must(os.Symlink(target, path))
	f.must(f.Take(7, []string{"web"}, true))
	info, err := os.Stat(target)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 0 || info.Size() != 1 {
		f.Fatal("the target of a link was touched")
	}
	f.must(f.Release(7))

	// a link in place of a service's directory
	f.must(os.Symlink(outside, filepath.Join(f.file("7", "web", ""), "../db")))
	f.must(os.WriteFile(filepath.Join(outside, "updates.lock"), nil, 0o600))
	f.must(os.Chown(filepath.Join(outside, "updates.lock"), owner, -1))
	if err := f.Take(7, []string{"web", "db"}, true); err == nil || errors.As(err, new(*HeldError)) {
		f.Fatalf("a linked directory: got %v", err)
	}
	f.expect("7", "web")
	f.must(f.Release(7))
	if _, err := os.Stat(filepath.Join(outside, "updates.lock")); err != nil {
		f.Fatal("release followed a link")
	}
}

func TestTakeRefusesOddNames(t *testing.T) {
	f := newFixture(t)
	for _, service := range []string{"", ".", "..", "../8/web", "a/b", "a\x00b"} {
		if err := f.Take(7, []string{"web", service}, true); err == nil || !strings.Contains(err.Error(), "app 7") {
			f.Fatalf("%q: got %v", service, err)
		}
	}
	if _, err := os.Stat(filepath.Join(f.root, "tmp")); err == nil {
		f.Fatal("something was made")
	}
}

func TestTakeReportsTheRealError(t *testing.T) {
	f := newFixture(t)
	f.must(os.MkdirAll(filepath.Join(f.root, "tmp/balena-supervisor/services/7"), 0o755))
	f.must(os.WriteFile(filepath.Join(f.root, "tmp/balena-supervisor/services/7/web"), nil, 0o600))
	if err := f.Take(7, []string{"db", "web"}, false); !errors.Is(err, syscall.ENOTDIR) {
		f.Fatalf("got %v", err)
	}
	f.must(f.Take(7, []string{"db"}, false))
	if err := f.Take(7, []string{"db", "web"}, true); !errors.Is(err, syscall.ENOTDIR) {
		f.Fatalf("got %v", err)
	}
	f.expect("7", "db")
}

func TestLeftovers(t *testing.T) {
	f := newFixture(t)
	f.must(f.Release(7))
	if ids, err := f.Leftovers(); err != nil || len(ids) != 0 {
		f.Fatalf("without a directory: %v, %v", ids, err)
	}
	f.ours("7", "web", "updates.lock")
	f.ours("7", "db", "resin-updates.lock")
	f.lock("7", "user", "updates.lock")
	f.ours("10", "web", ".ABC.updates.lock") // a crash between link and unlink
	f.lock("9", "web", "updates.lock")
	f.ours("11", "web", "something")
	f.ours("nonsense", "web", "updates.lock")
	if ids, err := f.Leftovers(); err != nil || !slices.Equal(ids, []int{7, 10}) {
		f.Fatalf("got %v, %v", ids, err)
	}
	f.must(f.Take(7, []string{"web"}, false)) // reused and completed
	f.expect("7", "web", both...)
	f.must(f.Release(7))
	f.must(f.Release(10))
	f.expect("7", "web")
	f.expect("7", "db")
	f.expect("7", "user", "updates.lock:user")
	f.expect("10", "web")
	f.expect("11", "web", "something:ours")
	if ids, err := f.Leftovers(); err != nil || len(ids) != 0 {
		f.Fatalf("after release: %v, %v", ids, err)
	}
}

func TestServices(t *testing.T) {
	f := newFixture(t)
	if list, err := f.Services(7); err != nil || len(list) != 0 {
		f.Fatalf("got %v, %v", list, err)
	}
	for _, service := range []string{"web", "db", "a"} {
		f.file("7", service, "")
	}
	f.lock("7", "", "file")
	if list, err := f.Services(7); err != nil || !slices.Equal(list, []string{"a", "db", "web"}) {
		f.Fatalf("got %v, %v", list, err)
	}
}

func TestTwoTakesAtOnce(t *testing.T) {
	f := newFixture(t)
	for range 50 {
		var race sync.WaitGroup
		for range 2 {
			race.Go(func() {
				if err := f.Take(7, []string{"web", "db"}, false); err != nil {
					t.Error(err)
				}
			})
		}
		race.Wait()
		f.expect("7", "web", both...)
		f.expect("7", "db", both...)
		f.must(f.Release(7))
		f.expect("7", "web")
	}
}

// When a user and the supervisor make the same lock file, exactly one of them succeeds.
func TestTakeAgainstAUser(t *testing.T) {
	f := newFixture(t)
	won := map[bool]int{}
	for range 300 {
		path := f.file("7", "web", "updates.lock")
		var race sync.WaitGroup
		var takeErr, userErr error
		race.Go(func() { takeErr = f.Take(7, []string{"web"}, false) })
		race.Go(func() {
			var made *os.File
			if made, userErr = os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o600); userErr == nil {
				_ = made.Close()
			}
		})
		race.Wait()
		if takeErr == nil {
			f.expect("7", "web", both...)
			if userErr == nil {
				f.Fatal("both hold the lock")
			}
		} else {
			f.wantHeld(takeErr, "web", path)
			f.expect("7", "web", "updates.lock:user")
		}
		won[takeErr == nil]++
		f.must(os.RemoveAll(filepath.Dir(path)))
	}
	t.Logf("supervisor %d, user %d", won[true], won[false])
}

// A user lock appears after all services were checked.
func TestTakeNameRespectsALateLock(t *testing.T) {
	f := newFixture(t)
	f.lock("7", "web", "updates.lock")
	dir, err := os.Open(f.file("7", "web", ""))
	f.must(err)
	defer dir.Close()
	if taken, err := takeName(dir, "updates.lock", false); taken || err != nil {
		f.Fatalf("taken %v, %v", taken, err)
	}
	f.expect("7", "web", "updates.lock:user")
}

func TestPrepare(t *testing.T) {
	const resin, balena = "tmp/resin-supervisor", "tmp/balena-supervisor"
	for name, test := range map[string]struct {
		before func(f fixture)
		link   string // what balena-supervisor is a link to afterwards
	}{
		"neither":      {func(f fixture) {}, ""},
		"an empty tmp": {func(f fixture) { f.must(os.Mkdir(filepath.Join(f.root, "tmp"), 0o755)) }, ""},
		"only resin": {func(f fixture) {
			f.must(os.MkdirAll(filepath.Join(f.root, resin), 0o755))
		}, "resin-supervisor"},
		"both": {func(f fixture) {
			f.must(os.MkdirAll(filepath.Join(f.root, resin), 0o755))
			f.must(os.MkdirAll(filepath.Join(f.root, balena), 0o755))
		}, ""},
		"absolute link": {func(f fixture) {
			f.must(os.MkdirAll(filepath.Join(f.root, resin), 0o755))
			f.must(os.Symlink("/tmp/resin-supervisor", filepath.Join(f.root, balena)))
		}, "resin-supervisor"},
		"other link": {func(f fixture) {
			f.must(os.MkdirAll(filepath.Join(f.root, resin), 0o755))
			f.must(os.Symlink("elsewhere", filepath.Join(f.root, balena)))
		}, "elsewhere"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			test.before(f)
			for range 2 {
				f.must(f.Prepare())
				if link, _ := os.Readlink(filepath.Join(f.root, balena)); link != test.link {
					f.Fatalf("link to %q, want %q", link, test.link)
				}
			}
			if info, err := os.Stat(filepath.Join(f.root, balena)); name == "an empty tmp" && (err != nil || !info.IsDir()) {
				f.Fatalf("no directory for the locks was made: %v", err)
			}
			if test.link != "resin-supervisor" {
				return
			}
			f.must(f.Take(7, []string{"web"}, false))
			if _, err := os.Stat(filepath.Join(f.root, resin, "services/7/web/updates.lock")); err != nil {
				f.Fatal(err)
			}
		})
	}
}
