package preload_test

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"resin-supervisor/test/harness"
	"resin-supervisor/test/harness/fakecloud"
)

// migrated is a device whose migration left a backup, made by build in an empty directory and packed
// with the options of tar. Its app has the volumes data, logs and kept.
func migrated(t *testing.T, setup harness.Setup, options string, build func(dir string)) (*harness.Supervisor, harness.App) {
	t.Helper()
	setup.Cloud = &fakecloud.Cloud{}
	s := harness.NewSupervisor(t, setup)
	pack(t, s, options, build)
	app := shop(t, "backup/app:v1")
	app = app.WithVolumes("data", "logs", "kept")
	app.Services[0] = app.Services[0].Composed("volumes", []string{"data:/data", "logs:/logs"})
	return s, app
}

func pack(t *testing.T, s *harness.Supervisor, options string, build func(dir string)) {
	t.Helper()
	if err := os.Rename(archive(t, s, options, build), s.Path("data/backup.tgz")); err != nil { // never half of it
		t.Fatal(err)
	}
}

// archive makes a backup at another place.
func archive(t *testing.T, s *harness.Supervisor, options string, build func(dir string)) string {
	t.Helper()
	dir, path := t.TempDir(), s.Path("backup.tgz")
	build(dir)
	args := append(strings.Fields(options), "-C", dir, "-czf", path, ".")
	harness.RunTool(t, "tar", args...)
	return path
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// volume makes a volume that was there before, with a file, and answers where its files are.
func volume(t *testing.T, e *harness.Engine, name, file string) string {
	t.Helper()
	var made harness.Volume
	e.Must(t, http.MethodPost, "/volumes/create", dict{"Name": name, "Labels": dict{"io.balena.supervised": "true"}}, &made)
	write(t, filepath.Join(made.Mountpoint, file), "before")
	return made.Mountpoint
}

// tree lists what is below a directory as find sees it, with what the files hold. How much room they
// take is not told: holes may be filled.
func tree(t *testing.T, dir string) string {
	t.Helper()
	script := `cd "$1" && find . -printf '%P %y %m %U:%G %n %Ts %l\n' | sort && find . -type f -print0 | sort -z | xargs -0r sha256sum`
	return harness.RunTool(t, "sh", "-c", script, "sh", dir)
}

// tidy checks that nothing of a restore is left but the volumes.
func tidy(t *testing.T, s *harness.Supervisor) {
	t.Helper()
	if harness.Exists(s.Path("data/backup.tgz")) {
		t.Error("the backup is still there")
	}
	var images []struct{ RepoTags []string }
	s.Engine.Must(t, http.MethodGet, "/images/json?all=1", nil, &images)
	all, err := s.Engine.Containers()
	if err != nil || strings.Contains(fmt.Sprint(all, images), "resin-supervisor-backup") {
		t.Errorf("left behind: %v %v %v", err, all, images)
	}
}

// cloud.md 8.3: the volumes that a migration packed are recreated and filled before a service uses them,
// whatever tar packed them in and whatever is in them.
func TestVolumesOfAMigration(t *testing.T) {
	for _, options := range []string{"--format=gnu", "--format=pax", "--format=pax -S"} {
		t.Run(options, func(t *testing.T) {
			var want string
			s, app := migrated(t, harness.Setup{}, options, func(dir string) {
				data := filepath.Join(dir, "data")
				write(t, filepath.Join(data, "sub", "file"), "text")
				write(t, filepath.Join(data, strings.Repeat("l", 200), strings.Repeat("m", 100)), "long")
				write(t, filepath.Join(data, "ümläut"), "")
				write(t, filepath.Join(dir, "logs", "log"), strings.Repeat("line\n", 100_000))
				holes, err := os.Create(filepath.Join(data, "holes"))
				if err != nil {
					t.Fatal(err)
				}
				defer holes.Close()
				for i := range int64(60) {
					holes.WriteAt([]byte("piece"), i*100_000)
				}
				outside := t.TempDir()
				err = errors.Join(holes.Truncate(8<<20),
					os.Link(filepath.Join(data, "sub", "file"), filepath.Join(data, "hard")),
					os.Symlink("../../../../etc/passwd", filepath.Join(data, "up")),
					os.Symlink(outside, filepath.Join(data, "out")),
					syscall.Mkfifo(filepath.Join(data, "fifo"), 0o600),
					os.Lchown(filepath.Join(data, "sub", "file"), 1000, 70_000),
					os.Lchown(filepath.Join(data, "up"), 12, 34),
					os.Chmod(filepath.Join(data, "sub", "file"), 0o640|os.ModeSetuid),
					os.Chmod(filepath.Join(data, "sub"), 0o700|os.ModeSticky),
					os.Chown(data, 65534, 33), os.Chmod(data, 0o2770|os.ModeSetgid),
					exec.Command("touch", "-h", "-d", "2001-02-03 04:05:06", filepath.Join(data, "sub", "file"), filepath.Join(data, "sub"), filepath.Join(data, "up"), data).Run())
				if err != nil {
					t.Fatal(err)
				}
				want = tree(t, data)
			})
			volume(t, s.Engine, "31_data", "old")
			kept := volume(t, s.Engine, "31_kept", "old")
			s.Assign(harness.TargetOf(app))
			events := s.Engine.Record(t)
			s.Start()
			s.WaitSettled(harness.Soon)
			volumes := s.Engine.Volumes(t)
			if got := tree(t, volumes["31_data"].Mountpoint); got != want {
				t.Errorf("data is\n%s\nwant\n%s", got, want)
			}
			if text, err := os.ReadFile(volumes["31_logs"].Mountpoint + "/log"); err != nil || len(text) != 500_000 {
				t.Errorf("logs: %v, %d bytes", err, len(text))
			}
			if !harness.Exists(filepath.Join(kept, "old")) {
				t.Error("a volume that is not in the backup lost its data")
			}
			if n := len(events.Of("start", "s0")); n != 1 {
				t.Errorf("%d starts of the service", n)
			}
			tidy(t, s)
			ids := s.IDs()
			s.Restart()
			s.WaitSettled(harness.Soon)
			if s.IDs()["s0"] != ids["s0"] {
				t.Error("recreated at the next start")
			}
		})
	}
}

// cloud.md 8.3: what is no directory named like a volume is an error, and so is an archive that cannot be
// read. Nothing changes then but that it is tried again: the backup stays, the app waits, others do not.
func TestBackupThatDoesNotFit(t *testing.T) {
	s, app := migrated(t, harness.Setup{}, "", func(dir string) {
		write(t, filepath.Join(dir, "data", "f"), "saved")
		write(t, filepath.Join(dir, "stranger", "f"), "saved")
	})
	old := volume(t, s.Engine, "31_data", "old")
	other := harness.App{ID: 32, UUID: strings.Repeat("b", 32), Name: "other", Commit: "aaaa1", Release: 2,
		Services: []harness.Service{{ID: 7, Name: "other", ImageID: 1007, Image: app.Services[0].Image}}}
	s.Assign(harness.TargetOf(app, other))
	s.Start()
	refusal := func(why string) {
		t.Helper()
		s.WaitLogged("Error restoring volumes from the backup due to '"+why+"'", 1)
		tries := len(s.LogLines("step did not succeed"))
		harness.Until(t, harness.Soon, "another try", func() error {
			if now := len(s.LogLines("step did not succeed")); now < tries+2 {
				return fmt.Errorf("%d tries, %d before", now, tries)
			}
			return nil
		})
		s.WaitLogged("Error restoring volumes from the backup due to '"+why+"'", 1)
		if !harness.Exists(s.Path("data/backup.tgz")) || !harness.Exists(filepath.Join(old, "old")) || harness.Exists(filepath.Join(old, "f")) {
			t.Error("something was changed")
		}
		if len(s.Containers()) != 1 || s.Containers()["other"].State.Status != "running" {
			t.Errorf("containers: %v", s.Containers())
		}
	}
	harness.Until(t, harness.Soon, "the other app", func() error {
		if s.Containers()["other"].State.Status != "running" {
			return errors.New("does not run")
		}
		return nil
	})
	refusal("backup: stranger is not a volume of the release")
	pack(t, s, "", func(dir string) { write(t, filepath.Join(dir, "data"), "a file") })
	refusal("read " + s.Path("data/backup.tgz") + ": data is not a directory")
	pack(t, s, "-S", func(dir string) {
		write(t, filepath.Join(dir, "data", "holes"), "")
		if err := os.Truncate(filepath.Join(dir, "data", "holes"), 1<<20); err != nil {
			t.Fatal(err)
		}
	})
	refusal("read " + s.Path("data/backup.tgz") + ": data/holes is a sparse file in a format that the engine cannot unpack")
	archive(t, s, "", func(dir string) { write(t, filepath.Join(dir, "data", "f"), "saved") })
	whole := s.ReadFile("backup.tgz") // in its place it would be taken before it is cut
	s.WriteFile("data/backup.tgz", whole[:len(whole)-9])
	refusal("read " + s.Path("data/backup.tgz") + ": unexpected EOF")
	s.WriteFile("data/backup.tgz", "something else")
	refusal("read " + s.Path("data/backup.tgz") + ": gzip: invalid header")

	// The next release has the volume.
	pack(t, s, "", func(dir string) {
		write(t, filepath.Join(dir, "data", "f"), "saved")
		write(t, filepath.Join(dir, "stranger", "f"), "saved")
	})
	app = app.Released("bbbb2", 3)
	app = app.WithVolumes("data", "logs", "stranger")
	s.Assign(harness.TargetOf(app, other))
	s.PollNow()
	s.WaitSettled(harness.Soon)
	tidy(t, s)
	for _, name := range []string{"31_data", "31_stranger"} {
		if text, err := os.ReadFile(s.Engine.Volumes(t)[name].Mountpoint + "/f"); err != nil || string(text) != "saved" {
			t.Errorf("%s: %q %v", name, text, err)
		}
	}
}

// cloud.md 8.3: whenever the power goes, the next start restores all of it; no service has seen less.
func TestPowerCutsDuringARestore(t *testing.T) {
	engine := harness.SharedEngine(t)
	for _, at := range []string{"DELETE /containers/{id}", "DELETE /images/{id}", "DELETE /volumes/{id}", "POST /volumes/create",
		"POST /images/create", "POST /containers/create", "PUT /containers/{id}/archive"} {
		for _, fault := range []harness.Fault{harness.Hang, harness.LoseAnswer} {
			t.Run(fmt.Sprint(at, fault), func(t *testing.T) {
				s, app := migrated(t, harness.Setup{WithProxy: true}, "", func(dir string) {
					write(t, filepath.Join(dir, "data", "f"), "saved")
					write(t, filepath.Join(dir, "logs", "f"), "saved")
				})
				volume(t, engine, "31_data", "old")
				s.Assign(harness.TargetOf(app))
				skip := 0
				if strings.HasPrefix(at, "DELETE /containers") || strings.HasPrefix(at, "DELETE /images") {
					skip = 1 // the one after the work
				}
				s.Proxy.Spoil(at, fault, skip, -1)
				s.Start()
				s.Proxy.WaitCalls(t, harness.Soon, at, skip+1)
				s.Kill()
				if !harness.Exists(s.Path("data/backup.tgz")) {
					t.Error("the backup went before its time")
				}
				s.Proxy.Heal()
				s.Start()
				s.WaitSettled(harness.Soon)
				tidy(t, s)
				for _, name := range []string{"31_data", "31_logs"} {
					if text, err := os.ReadFile(engine.Volumes(t)[name].Mountpoint + "/f"); err != nil || string(text) != "saved" {
						t.Errorf("%s: %q %v", name, text, err)
					}
				}
				if harness.Exists(engine.Volumes(t)["31_data"].Mountpoint + "/old") {
					t.Error("the volume was not recreated")
				}
			})
		}
	}
}
