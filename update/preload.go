package update

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"syscall"

	"resin-supervisor/hostos/file"
	"resin-supervisor/update/settings"
	"resin-supervisor/update/target"
)

// Pin is the wish of a preload to pin the device to the release it came with (spec/cloud.md 8.2).
type Pin struct {
	App    int    `json:"app"`
	Commit string `json:"commit"`
}

// preload takes over apps.json, the target that came with the image or was put there by hand
// (spec/cloud.md 8.1): once on a managed device, on an unmanaged one whenever there is a new one.
// A crash at any point repeats it with the same result.
func (t *targets) preload(path string) error {
	if path == "" || t.endpoint != "" && t.states[t.endpoint] != nil {
		return nil
	}
	body, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.EISDIR) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read preloaded apps: %w", err)
	}
	p, problems, err := target.DecodePreload(body, t.endpoint != "")
	t.report(problems)
	if err != nil {
		t.log.Error().Err(err).Msg("preloaded apps were not taken over")
		return nil
	}
	if p == nil || len(p.State.Apps) == 0 && len(p.State.Config) == 0 {
		return nil
	}
	config := maps.Clone(t.config())
	maps.Copy(config, settings.Fold(p.State.Config))
	p.State.Config = config
	if err := t.set(firstText(t.endpoint, localSource), p.State); err != nil {
		return err
	}
	t.log.Info().Int("apps", len(p.State.Apps)).Msg("preloaded apps taken over")
	if err := file.Write(path+".preloaded", body, 0o600); err != nil {
		return err
	}
	return file.Write(path, []byte("{}"), 0o600)
}
