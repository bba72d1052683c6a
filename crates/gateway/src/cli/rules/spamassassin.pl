# Asks SpamAssassin's own library, loaded once, about many mails; without network, classifier or reputations. Each mail gets a
# process of its own, which knows nothing of the others: expressions with `%{TAG}` keep the first value they ever had.
#
# On the standard input: the length of the configuration and a line feed, the configuration, then names of files, each with a
# NUL behind it. On the standard output: `ready VERSION`, then a line for each file, as soon as it is done:
#   ok TAB score TAB limit TAB rules TAB subrules        names with comma between
#   error TAB what went wrong
use strict;
use warnings;
use POSIX ();

binmode(STDIN);
binmode(STDOUT);
$| = 1;
local $SIG{__WARN__} = sub { };

sub one_line {
    my ($text) = @_;
    $text =~ s/\s+/ /g;
    return $text;
}

# Names, each once.
sub names {
    my %seen;
    return join(',', sort grep { !$seen{$_}++ } @_);
}

my $main = eval {
    require Mail::SpamAssassin;
    my $length = <STDIN>;
    read(STDIN, my $rules, $length) == $length or die "the rules did not come\n";
    my $made = Mail::SpamAssassin->new({
        config_text        => $rules,
        post_config_text   => "use_bayes 0\nuse_auto_welcomelist 0\n",
        local_tests_only   => 1,
        dont_copy_prefs    => 1,
        userprefs_filename => '/dev/null',
        skip_prng_reseeding => 1,
    });
    $made->{languages_filename} = $made->find_rule_support_file('languages');
    # Makes everything ready by a mail without recipient and address.
    $made->compile_now(0);
    $made;
};
if (!$main) {
    print "error\t", one_line($@), "\n";
    exit 1;
}
print "ready\t", Mail::SpamAssassin::Version(), "\n";

# SpamAssassin relies on `$/`: it is changed for no longer than it takes to read a name.
sub next_name {
    local $/ = "\0";
    my $name = <STDIN>;
    chomp $name if defined $name;
    return $name;
}

# What is said of one mail.
sub line_of {
    my ($file) = @_;
    my $line = eval {
        open(my $in, '<:raw', $file) or die "cannot be read: $!\n";
        my $text = do { local $/; <$in> };
        close $in;
        my $mail = $main->parse(defined $text ? $text : '', 1);
        my $status = $main->check($mail);
        join("\t",
            'ok',
            sprintf('%.3f', $status->get_score),
            sprintf('%.3f', $status->get_required_score),
            names(@{ $status->{test_names_hit} }),
            names(@{ $status->{subtest_names_hit} }));
    };
    return defined $line ? $line : "error\t" . one_line($@);
}

while (defined(my $file = next_name())) {
    my $child = fork;
    if (defined $child && $child == 0) {
        my $printed = print line_of($file), "\n";
        POSIX::_exit($printed ? 0 : 1);
    }
    if (!defined $child) {
        print "error\tno process can be started: $!\n";
    } elsif (waitpid($child, 0) != $child || $? != 0) {
        print "error\tthe evaluation broke off\n";
    }
}
