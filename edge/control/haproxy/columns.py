"""The columns of `show stat` and the fields of `show info` in HAProxy 2.6: names, order, types.

Clients address columns by position, so the order is part of the interface. A value's type in the
`typed` and `json` forms has four parts: origin (M metric, S status, K key, C configuration,
P product), nature (G gauge, L limit, M maximum, R rate, C counter, D duration, A age, N name,
O output, a average), scope (S service, P process) and the C type.
"""

from __future__ import annotations

from types import MappingProxyType

_STAT_COLUMNS = """
pxname svname qcur qmax scur smax slim stot bin bout dreq dresp ereq econ eresp wretr wredis
status weight act bck chkfail chkdown lastchg downtime qlimit pid iid sid throttle lbtot tracked
type rate rate_lim rate_max check_status check_code check_duration hrsp_1xx hrsp_2xx hrsp_3xx
hrsp_4xx hrsp_5xx hrsp_other hanafail req_rate req_rate_max req_tot cli_abrt srv_abrt comp_in
comp_out comp_byp comp_rsp lastsess last_chk last_agt qtime ctime rtime ttime agent_status
agent_code agent_duration check_desc agent_desc check_rise check_fall check_health agent_rise
agent_fall agent_health addr cookie mode algo conn_rate conn_rate_max conn_tot intercepted dcon
dses wrew connect reuse cache_lookups cache_hits srv_icur src_ilim qtime_max ctime_max rtime_max
ttime_max eint idle_conn_cur safe_conn_cur used_conn_cur need_conn_est uweight agg_server_status
agg_server_check_status agg_check_status - ssl_sess ssl_reused_sess ssl_failed_handshake
h2_headers_rcvd h2_data_rcvd h2_settings_rcvd h2_rst_stream_rcvd h2_goaway_rcvd
h2_detected_conn_protocol_errors h2_detected_strm_protocol_errors h2_rst_stream_resp
h2_goaway_resp h2_open_connections h2_backend_open_streams h2_total_connections
h2_backend_total_streams h1_open_connections h1_open_streams h1_total_connections
h1_total_streams h1_bytes_in h1_bytes_out h1_spliced_bytes_in h1_spliced_bytes_out
"""
STAT_COLUMNS = tuple(_STAT_COLUMNS.split())

# Columns by their type; whatever is filled and not named here is a counter.
_TYPED = {
    "KNS:str": "pxname svname",
    "KGS:u32": "iid sid",
    "KGP:u32": "pid",
    "CGS:u32": "type check_rise check_fall check_health agent_rise agent_fall agent_health",
    "CGS:str": "addr mode algo",
    "CLP:u32": "slim rate_lim",
    "SGP:str": "status",
    "SGP:u32": "act bck",
    "MGP:u32": "qcur scur srv_icur idle_conn_cur safe_conn_cur used_conn_cur",
    "MRP:u32": "rate req_rate conn_rate",
    "MMP:u32": "rate_max req_rate_max conn_rate_max",
    "MaP:u32": "weight uweight throttle",
    "MAP:u32": "lastchg",
    "MAP:s32": "lastsess",
    "MOP:str": "check_status check_desc last_chk agent_status agent_desc last_agt",
    "MOP:u32": "check_code agent_code",
    "MDP:u64": "check_duration agent_duration",
}
COUNTER_TYPE = "MCP:u64"
STAT_TYPES = MappingProxyType(
    {name: type_text for type_text, names in _TYPED.items() for name in names.split()}
)
# What HAProxy types otherwise in the row of a backend.
BACKEND_TYPES = MappingProxyType(dict.fromkeys(("act", "bck", "rate", "rate_max"), "MGP:u32"))

# Fields of `show info` that are filled here: HAProxy's position, name, type.
INFO_FIELDS = (
    (0, "Name", "POS:str"),
    (1, "Version", "POS:str"),
    (2, "Release_date", "POS:str"),
    (3, "Nbthread", "CGS:u32"),
    (4, "Nbproc", "CGS:u32"),
    (5, "Process_num", "KGP:u32"),
    (6, "Pid", "SGP:u32"),
    (7, "Uptime", "MDP:str"),
    (8, "Uptime_sec", "MDP:u32"),
    (13, "Ulimit-n", "CLP:u32"),
    (14, "Maxsock", "CLP:u32"),
    (15, "Maxconn", "CLP:u32"),
    (17, "CurrConns", "MGP:u32"),
    (18, "CumConns", "MCP:u32"),
    (19, "CumReq", "MCP:u32"),
    (21, "CurrSslConns", "MGP:u32"),
    (22, "CumSslConns", "MCP:u32"),
    (23, "Maxpipes", "CLP:u32"),
    (24, "PipesUsed", "MGP:u32"),
    (25, "PipesFree", "MGP:u32"),
    (26, "ConnRate", "MRP:u32"),
    (27, "ConnRateLimit", "CLP:u32"),
    (28, "MaxConnRate", "MMP:u32"),
    (47, "Tasks", "MGP:u32"),
    (48, "Run_queue", "MGP:u32"),
    (50, "node", "COS:str"),
    (51, "description", "COS:str"),
    (52, "Stopping", "MGP:u32"),
    (55, "Listeners", "MGP:u32"),
    (56, "ActivePeers", "MGP:u32"),
    (57, "ConnectedPeers", "MGP:u32"),
    (61, "TotalBytesOut", "MGP:u64"),
    (66, "Build info", "POS:str"),
    (70, "Start_time_sec", "MDP:u32"),
)

SERVERS_STATE_COLUMNS = (
    "# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight srv_iweight"
    " srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state"
    " srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl"
    " srv_check_port srv_check_addr srv_agent_addr srv_agent_port"
)
