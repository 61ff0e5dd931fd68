package endpoint

import (
	"fmt"
	"path"

	"devctl/internal/api"
)

// Unit is the unit that runs `devctld endpoint`.
const Unit = "devctl-endpoint.service"

// Where the unit has its files.
var (
	EnvFile   = path.Join(api.ServicesDir, Unit, "endpoint.env")
	TokenFile = path.Join(api.ServicesDir, Unit, "token")
)

// Keys of EnvFile.
const (
	KeyAddress    = "DEVCTL_ENDPOINT"
	KeyAllocation = "DEVCTL_ALLOCATION"
	KeyStatsPort  = "DEVCTL_STATS_PORT"
)

// Files returns what the unit reads. On DigitalOcean a machine has no rights of its own, and needs a token.
func Files(ep api.EndpointSpec, statsPort int) []api.File {
	env := fmt.Sprintf("%s=%s\n%s=%d\n", KeyAddress, ep.Address, KeyStatsPort, statsPort)
	if ep.Platform == api.PlatformAWS {
		return []api.File{{Path: EnvFile, Mode: 0o644, Content: env + KeyAllocation + "=" + ep.Allocation + "\n"}}
	}
	return []api.File{
		{Path: EnvFile, Mode: 0o644, Content: env},
		{Path: TokenFile, Mode: 0o600, Content: "${secret:" + api.SecretDigitalOcean + "}"},
	}
}
