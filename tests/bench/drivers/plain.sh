# No VPN: the client reaches the lan by plain routing through the gateway's namespace. The physical limit.
GW_VPN=0
