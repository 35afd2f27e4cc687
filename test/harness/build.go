package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// Environment variables that name ready-made binaries of the supervisor.
const (
	EnvBinary      = "RESIN_SUPERVISOR_BIN"
	EnvBinaryARMv6 = "RESIN_SUPERVISOR_BIN_ARMV6"
	EnvBinaryARM64 = "RESIN_SUPERVISOR_BIN_ARM64"
)

// Binary is the path of the supervisor under test: what RESIN_SUPERVISOR_BIN names, else a build of
// the working tree.
func Binary(t testing.TB) string {
	t.Helper()
	return binary(t, EnvBinary, "resin-supervisor")
}

// BinaryARMv6 is the supervisor for 32-bit ARM boards.
func BinaryARMv6(t testing.TB) string {
	t.Helper()
	return binary(t, EnvBinaryARMv6, "resin-supervisor-armv6", "GOARCH=arm", "GOARM=6")
}

// BinaryARM64 is the supervisor for 64-bit ARM boards.
func BinaryARM64(t testing.TB) string {
	t.Helper()
	return binary(t, EnvBinaryARM64, "resin-supervisor-arm64", "GOARCH=arm64")
}

func binary(t testing.TB, env, name string, goEnv ...string) string {
	t.Helper()
	if path := os.Getenv(env); path != "" {
		abs, err := filepath.Abs(path)
		if err == nil {
			_, err = os.Stat(abs)
		}
		if err != nil {
			t.Fatalf("%s: %v", env, err)
		}
		return abs
	}
	path, err := build(name, filepath.Join(testModule(), ".."), ".", goEnv...)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// fixture builds one of the programs that run in containers.
func fixture(program string) (string, error) {
	return build("fixture-"+program, testModule(), "./fixture/"+program)
}

// testModule is the directory of this module, known from where this file was compiled.
func testModule() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(file))
}

// built is the outcome of one build.
type built struct {
	path string
	err  error
}

// builds holds what this test binary has built: sources do not change under a running test.
var builds sync.Map

// build compiles a package once and answers where the program is.
func build(name, dir, pkg string, goEnv ...string) (string, error) {
	once := sync.OnceValue(func() built {
		path, err := compile(name, dir, pkg, goEnv)
		return built{path, err}
	})
	first, _ := builds.LoadOrStore(name, once)
	b := first.(func() built)()
	return b.path, b.err
}

// compile compiles a package into the user's cache directory. The Go build cache makes it quick for
// unchanged sources; a lock keeps parallel test binaries from writing the same file.
func compile(name, dir, pkg string, goEnv []string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	cache = filepath.Join(cache, "resin-supervisor-test")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(cache, name)
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, pkg)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), goEnv...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", name, err, out)
	}
	return path, nil
}

func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
