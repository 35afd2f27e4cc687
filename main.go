// Resin-supervisor keeps the apps of a device running as its target state says. This file reads the command line and the
// environment, and starts and stops the parts of the supervisor.
package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"resin-supervisor/api"
	"resin-supervisor/api/client"
	"resin-supervisor/api/device"
	"resin-supervisor/build/version"
	"resin-supervisor/hostos"
	"resin-supervisor/update/key"
	"resin-supervisor/update/lock"
	"resin-supervisor/update/store"
)

const usage = `resin-supervisor keeps the apps of this device in their target state.

Usage: resin-supervisor [command]

  (none)       run the supervisor
  status       show the device, its services and the running update
    --watch      repeat until Ctrl-C
    --json       print one line of JSON, for scripts
  healthcheck  exit with 0 if the supervisor is healthy, with 1 if not
  api-key      print the global API key
  version      print the version
`

func main() {
	if err := command(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "resin-supervisor:", err)
		os.Exit(1)
	}
}

func command(args []string) error {
	e := hostos.ReadEnvironment(os.Getenv)
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	if len(args) > 1 && (args[1] == "-h" || args[1] == "--help") || name == "-h" || name == "--help" || name == "help" {
		_, err := os.Stdout.WriteString(usage)
		return err
	}
	if len(args) > 1 && name != "status" {
		return fmt.Errorf("%s takes no arguments", name)
	}
	switch name {
	case "":
		return run(&e)
	case "status":
		return status(&e, args[1:])
	case "healthcheck":
		return dial(&e, "", healthTimeout).Healthy(context.Background())
	case "api-key":
		key, err := globalKey(&e)
		if err == nil {
			fmt.Println(key)
		}
		return err
	case "version":
		fmt.Println(version.String())
		return nil
	}
	return fmt.Errorf("unknown command %q, see resin-supervisor -h", name)
}

// How long the commands wait for the supervisor.
const (
	healthTimeout = 30 * time.Second
	statusTimeout = 10 * time.Second
)

func dial(e *hostos.Environment, key string, timeout time.Duration) *client.Client {
	return client.New(net.JoinHostPort("127.0.0.1", strconv.Itoa(port(e))), key, timeout)
}

func status(e *hostos.Environment, flags []string) error {
	show, err := client.ParseShow(flags)
	if err != nil {
		return err
	}
	key, err := globalKey(e)
	if err != nil {
		return err
	}
	return dial(e, key, statusTimeout).Show(context.Background(), show, os.Stdout)
}

// globalKey reads the global API key of the supervisor that runs, or makes that of the first that will.
func globalKey(e *hostos.Environment) (string, error) {
	docs, err := store.Visit(e.StateDir, zerolog.New(os.Stderr))
	if err != nil {
		return "", err
	}
	ring, err := key.Open(docs)
	if err != nil {
		return "", err
	}
	return ring.Global(), nil
}

// port is the port of the device API: config.json says it, else the environment. Of a file that is of no use the
// supervisor's copy counts, as for the daemon.
func port(e *hostos.Environment) int {
	s := hostos.Settings{ListenPort: 48484}
	if config, err := hostos.OpenConfig(e.ConfigPath); err == nil {
		s = config.Get()
	}
	if s.UUID == "" {
		if docs, err := store.Visit(e.StateDir, zerolog.Nop()); err == nil {
			s = hostos.KeptSettings(docs, s)
		}
	}
	return s.APIPort(e.ListenPort)
}

// run runs the supervisor until a signal ends it, or until a part of it ends, which is an error. Nothing here waits for
// the engine, so the API answers at once.
func run(e *hostos.Environment) error {
	runtime.GOMAXPROCS(1)          // each costs memory of its own, and there is little to do at once
	debug.SetGCPercent(50)         // of a live megabyte: what an apply scatters stays behind in pieces
	debug.SetMemoryLimit(24 << 20) // a safety net, far above what is used
	log := zerolog.New(os.Stderr).With().Timestamp().Logger().Level(zerolog.InfoLevel)

	// The parts, in the order in which they need one another.
	docs, err := store.Open(e.StateDir, log)
	if err != nil {
		return err
	}
	d, err := device.New(e, docs, log)
	if err != nil {
		return err
	}
	ring, err := key.Open(docs)
	if err != nil {
		return err
	}
	locks := lock.New(e.Root)
	if err := locks.Prepare(); err != nil {
		log.Warn().Err(err).Msg("update lock directory is not ready")
	}
	if err := d.Join(docs, ring, locks); err != nil {
		return err
	}
	listener, err := api.Listen(":" + strconv.Itoa(d.Port()))
	if err != nil {
		return err
	}
	log.Info().Str("version", e.Version).Int("port", d.Port()).Bool("managed", d.Managed()).Msg("supervisor starting")

	// The start list.
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	var parts sync.WaitGroup
	d.Watch(ctx, stop)
	parts.Go(func() { d.Run(ctx) })
	parts.Go(func() {
		if err := d.API(ring).Serve(ctx, listener); err != nil {
			log.Error().Err(err).Msg("device API ended")
			stop()
		}
	})
	return untilSignal(ctx, stop, &parts)
}

// untilSignal waits for the end, lets the parts finish what cannot be cancelled, and ends the process as its service
// manager expects (docs/spec/device-api.md 1.11).
func untilSignal(ctx context.Context, stop func(), parts *sync.WaitGroup) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	select {
	case <-ctx.Done():
		parts.Wait()
		return errors.New("a part of the supervisor ended")
	case s := <-signals:
		stop()
		parts.Wait()
		os.Exit(128 + int(s.(syscall.Signal)))
		return nil
	}
}
