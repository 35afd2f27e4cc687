package execute

import (
	"context"
	"errors"

	"resin-supervisor/update/delta"
	"resin-supervisor/update/engine"
	"resin-supervisor/update/engine/doc"
	"resin-supervisor/update/plan"
	"resin-supervisor/update/target"
)

// deltaAttempts is how often a delta that the engine cannot apply is tried (docs/spec/engine.md 8.5).
const deltaAttempts = 3

// pullDelta pulls an image as a delta. Neither id nor error means that the image has to be pulled as a whole. After an
// error of the connection or the registry, a later attempt tries again. After an error of the engine when it applies
// the delta, the delta is tried again at once (docs/spec/engine.md 8.5, D20).
func (x *Executor) pullDelta(ctx context.Context, s plan.Step, percent func(int)) (id string, err error) {
	source, err := x.engine.Image(ctx, s.From.EngineID)
	if engine.IsNotFound(err) || err == nil && source.Size < minSourceSize && source.VirtualSize < minSourceSize {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	name, token, err := x.images.Deltas.Request(ctx, s.From.Name, s.Image, x.images.DeltaTimeout())
	if errors.Is(err, delta.ErrNone) {
		x.log.Info().Str("image", s.Image).Err(err).Msg("image is downloaded as a whole")
		return "", nil
	}
	if err != nil {
		return "", err
	}
	ref, err := target.ParseReference(name)
	if err != nil {
		return "", err
	}
	for range deltaAttempts {
		id, err = x.pull(ctx, ref, &doc.AuthConfig{RegistryToken: token}, percent)
		if err == nil || !engine.IsStreamed(err) || engine.IsNoSpace(err) {
			return id, err
		}
		x.log.Warn().Str("image", s.Image).Err(err).Msg("the engine did not apply the delta")
	}
	return "", nil
}

// minSourceSize is the size, in bytes, below which a source is itself a delta of the second version.
const minSourceSize = 40
