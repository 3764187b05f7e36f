package redisstore

import (
	_ "embed"

	"github.com/redis/go-redis/v9"
)

// The scripts run with KEYS state, bodies, changed, audit (commit and pull) or instances (beat
// and fleet). None of them decodes JSON: to the server a manifest is a string.
var (
	//go:embed prelude.lua
	prelude string
	//go:embed commit.lua
	commitBody string
	//go:embed pull.lua
	pullBody string
	//go:embed beat.lua
	beatBody string
	//go:embed fleet.lua
	fleetBody string

	commitScript = redis.NewScript(prelude + commitBody)
	pullScript   = redis.NewScript(prelude + pullBody)
	beatScript   = redis.NewScript(beatBody)
	fleetScript  = redis.NewScript(fleetBody)
)
