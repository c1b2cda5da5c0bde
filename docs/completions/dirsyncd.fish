# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_dirsyncd_global_optspecs
    string join \n h/help V/version
end

function __fish_dirsyncd_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_dirsyncd_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_dirsyncd_using_subcommand
    set -l cmd (__fish_dirsyncd_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -s V -l version -d 'Print version'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "plan" -d 'Show what a sync would do; changes nothing anywhere'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "sync" -d 'Sync once'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "run" -d 'Run as a daemon: sync on the schedule of the configuration until SIGTERM or SIGINT'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "status" -d 'Tell how the daemon stands: what it does, what comes next, when it last was all well'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "pause" -d 'Let the daemon start no more jobs, until `dirsyncd resume`, over restarts too'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "resume" -d 'Let the daemon start jobs again'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "holds" -d 'List what the guards hold, from the database alone'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "approve" -d 'Let what a hold holds through: once, in the next sync'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "retry" -d 'Let go again what has failed for a person or a group: at once, in the next sync'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "revert" -d 'Undo what a run did, as far as it is still so and can be undone'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "reconcile" -d 'Read the organization back, and tell or take over what was changed there by hand'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "backup" -d 'Copy the database to a file, also while a run writes to it'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "prune" -d 'Take out of the journal what is old and not needed any more, as syncs do once a day'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "init" -d 'Write a first configuration, from what the LDAP server tells of itself and a few answers'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "check" -d 'Check configuration, directory, API keys and database, and tell about each'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "map" -d 'Show what the mapping makes of an entry, step by step; changes nothing anywhere'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "explain" -d 'Tell what is known of one person and why the account is as it is, from the database alone'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "history" -d 'Tell what was written to the organization, when, why, by whom and with which answer, from the database alone'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "rehearse" -d 'Rehearse a sync: for real, but against a copy of the organization in a private simulator'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "simulate" -d 'Serve a simulator of the organization\'s admin API'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "demo" -d 'Show dirsyncd at work on a made-up company; needs no server, account or network'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "completions" -d 'Print what a shell completes the words of this program by'
complete -c dirsyncd -n "__fish_dirsyncd_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l user -d 'Look at one person alone: by key, e-mail address, user name or DN' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l format -d 'The form of the report [default: text, or by the ending of --output]' -r -f -a "text\t''
json\t''
csv\t''
markdown\t''
html\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -s o -l output -d 'Write the report to FILE, and only its last line here; the ending of the name picks the form: .txt, .json, .csv, .md or .html' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l limit -d 'Show at most N people a group (not in JSON and CSV)' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l against -d 'Show who would enter and leave the scope by the configuration, compared with this older one' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l save -d 'Save the plan as JSON, for `dirsyncd sync --plan FILE`' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l full -d 'Read every source in full, also where a pull of what changed would do'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l accept-scope-change -d 'Let those depart whom a change of the configuration has put out of scope, and let groups follow it too'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -s q -l quiet -d 'Show no progress, and of a report as text the last line alone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l detailed-exitcode -d 'Exit with 10 when changes are pending'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l force -d 'Replace the file of `--save` if it is there already'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l daemon -d 'Have the daemon make the dry run'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -l schema -d 'Print the JSON Schema of a saved plan, and do nothing else'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand plan" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l user -d 'Look at one person alone: by key, e-mail address, user name or DN' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l plan -d 'Carry out the plan of `dirsyncd plan --save FILE`, without reading the sources' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l format -d 'The form of the report [default: text, or by the ending of --output]' -r -f -a "text\t''
json\t''
csv\t''
markdown\t''
html\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -s o -l output -d 'Write the report to FILE, and only its last line here; the ending of the name picks the form: .txt, .json, .csv, .md or .html' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l limit -d 'Show at most N people a group (not in JSON and CSV)' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l full -d 'Read every source in full, also where a pull of what changed would do'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l accept-scope-change -d 'Let those depart whom a change of the configuration has put out of scope, and let groups follow it too'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -l daemon -d 'Have the daemon make the run, after what it is at, and wait for its end'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -s q -l quiet -d 'Show no progress, and of a report as text the last line alone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand sync" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand run" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand run" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand status" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand status" -l socket -d 'Ask the daemon on this socket; no configuration is needed' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand status" -s q -l quiet -d 'Print nothing; the exit code tells'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand status" -l json -d 'Print JSON'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand status" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand pause" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand pause" -l why -d 'Why; told by `dirsyncd status`' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand pause" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand resume" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand resume" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand holds" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand holds" -l format -d 'The form of the list' -r -f -a "text\t''
json\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand holds" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand approve" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand approve" -l only -d 'Only the operations of these people, not all that the hold has now' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand approve" -l reason -d 'Why; kept for good, with who asked and when' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand approve" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand retry" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand retry" -l reason -d 'Why; kept for good, with who asked and when' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand retry" -l all -d 'All that waits for another try or is in quarantine'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand retry" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -l only -d 'Undo only what the run did to these people and groups; a person comes without the groups' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -l format -d 'The form of the report [default: text, or by the ending of --output]' -r -f -a "text\t''
json\t''
csv\t''
markdown\t''
html\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -s o -l output -d 'Write the report to FILE, and only its last line here; the ending of the name picks the form: .txt, .json, .csv, .md or .html' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -l limit -d 'Show at most N people a group (not in JSON and CSV)' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -l dry-run -d 'Show what would be undone, and change nothing'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -s q -l quiet -d 'Show no progress, and of a report as text the last line alone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand revert" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l correct -d 'Take this over into the snapshot, so that the next sync corrects it: changed, deactivated, activated, deleted, or all of it when nothing is named; goes before `correct` in [reconcile]' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l claim -d 'Take in the account with this key, which nobody in the directory has, as that of a person who has left: by the policy it is going to be deactivated and deleted' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l source -d 'The source from which the claimed accounts are' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l format -d 'The form of the report' -r -f -a "text\t''
json\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l limit -d 'Show at most N accounts a section (text only)' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l rebuild -d 'Make the snapshot again, of a database that is lost or was restored from a backup'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -l dry-run -d 'Show it, and change nothing'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -s q -l quiet -d 'Show no progress'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand reconcile" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand backup" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand backup" -l force -d 'Replace the file if it is there'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand backup" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand prune" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand prune" -l dry-run -d 'Show how much it is, and change nothing'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand prune" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -s o -l output -d 'Where the configuration is written' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l database -d 'Where the database is going to be; by default that of the service for /etc/dirsyncd, else beside FILE' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l url -d 'The LDAP server: ldaps://HOST[:636], ldap://HOST[:389] (with StartTLS) or ldapi://SOCKET' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l ca-file -d 'A CA bundle (PEM) to trust for the LDAP server instead of the system\'s' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l bind-dn -d 'Who binds to it' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l password-file -d 'The file with the password of the bind, open to its owner alone' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l preset -d 'What fits the server: openldap, active-directory, 389ds or freeipa; by default what it tells of itself' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l base -d 'Where the people are' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l organization -d 'The organization\'s id, as in admin.atlassian.com/o/ID' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l directory -d 'The id of the provisioning directory, the last part of its SCIM base URL' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l scim-key-file -d 'The file with the key of the provisioning directory' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l admin-key-file -d 'The file with the organization\'s admin API key' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l api -d 'The root of the API, where it is not Atlassian\'s' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l force -d 'Replace the file if it is there already'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -l anonymous -d 'Bind as nobody'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand init" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand check" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand check" -l format -d 'The form of what is found' -r -f -a "text\t''
json\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand check" -l notify -d 'Send a test message through each channel of [notify]; one that does not arrive is a failed check'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand check" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand map" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand map" -l source -d 'The source; by default the first that reaches the entry' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand map" -l format -d 'The form of the answer' -r -f -a "text\t''
json\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand map" -l preset -d 'Show what is in a preset instead: openldap, active-directory, 389ds or freeipa' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand map" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand explain" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand explain" -l format -d 'The form of the answer' -r -f -a "text\t''
json\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand explain" -l width -d 'The longest line, in columns' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand explain" -l limit -d 'How many of the last changes are shown' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand explain" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l run -d 'Only what this run has written' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l account -d 'Only what was written to this account, also under former names and keys' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l group -d 'Only what was written to this group' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l since -d 'Only what was sent since then: 2026-11-30, 2026-11-30T08:00:00Z, or an age such as 7d' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l until -d 'Only what was sent until then; a day counts to its end (UTC)' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l kind -d 'Only what is of this kind' -r -f -a "create\t''
adopt\t''
update\t''
restore\t''
deactivate\t''
delete\t''
group_create\t''
group_adopt\t''
group_rename\t''
group_update\t''
group_delete\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l limit -d 'Only the newest N' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l format -d 'The form of the history' -r -f -a "text\t''
json\t''
csv\t''"
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l failed -d 'Only what failed, or was sent and is not known to have taken effect'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -l schema -d 'Print the JSON Schema of `--format json`, and do nothing else'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand history" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -s c -l config -d 'The configuration file' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -l user -d 'Look at one person alone: by key, e-mail address, user name or DN' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -l limit -d 'Show at most N people a group' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -l full -d 'Read every source in full, also where a pull of what changed would do'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -l accept-scope-change -d 'Let those depart whom a change of the configuration has put out of scope, and let groups follow it too'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -s q -l quiet -d 'Show no progress'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand rehearse" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -l listen -d 'The address to listen on; port 0 takes a free one' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -l state -d 'The folder that keeps its accounts and keys; it is made if need be' -r -F
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -l domain -d 'A verified domain of the organization; give several by repeating it' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -l organization -d 'The id of the organization when it is made, instead of a random one' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -l directory -d 'The id of its provisioning directory when it is made' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -l limit -d 'How many requests an API (scim, users or orgs) takes in how many seconds, such as scim=600/60; one for each API by repeating it. Without one there is no limit' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand simulate" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand demo" -l people -d 'How many people the company has' -r
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand demo" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand completions" -s h -l help -d 'Print help'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "plan" -d 'Show what a sync would do; changes nothing anywhere'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "sync" -d 'Sync once'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "run" -d 'Run as a daemon: sync on the schedule of the configuration until SIGTERM or SIGINT'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "status" -d 'Tell how the daemon stands: what it does, what comes next, when it last was all well'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "pause" -d 'Let the daemon start no more jobs, until `dirsyncd resume`, over restarts too'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "resume" -d 'Let the daemon start jobs again'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "holds" -d 'List what the guards hold, from the database alone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "approve" -d 'Let what a hold holds through: once, in the next sync'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "retry" -d 'Let go again what has failed for a person or a group: at once, in the next sync'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "revert" -d 'Undo what a run did, as far as it is still so and can be undone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "reconcile" -d 'Read the organization back, and tell or take over what was changed there by hand'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "backup" -d 'Copy the database to a file, also while a run writes to it'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "prune" -d 'Take out of the journal what is old and not needed any more, as syncs do once a day'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "init" -d 'Write a first configuration, from what the LDAP server tells of itself and a few answers'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "check" -d 'Check configuration, directory, API keys and database, and tell about each'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "map" -d 'Show what the mapping makes of an entry, step by step; changes nothing anywhere'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "explain" -d 'Tell what is known of one person and why the account is as it is, from the database alone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "history" -d 'Tell what was written to the organization, when, why, by whom and with which answer, from the database alone'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "rehearse" -d 'Rehearse a sync: for real, but against a copy of the organization in a private simulator'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "simulate" -d 'Serve a simulator of the organization\'s admin API'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "demo" -d 'Show dirsyncd at work on a made-up company; needs no server, account or network'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "completions" -d 'Print what a shell completes the words of this program by'
complete -c dirsyncd -n "__fish_dirsyncd_using_subcommand help; and not __fish_seen_subcommand_from plan sync run status pause resume holds approve retry revert reconcile backup prune init check map explain history rehearse simulate demo completions help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
