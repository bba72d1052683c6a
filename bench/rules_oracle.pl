#!/usr/bin/perl
# Asks SpamAssassin itself, loaded once and without the network, classifier or reputations, about many mails.
#
#   rules_oracle.pl FOLDER|FILE...      prints `file TAB score TAB rules that hit, sorted, comma between`
#
# With RULES_SUBRULES=1 subrules are printed too.
use strict;
use warnings;
use Mail::SpamAssassin;
use File::Find;

$| = 1;
my $main = Mail::SpamAssassin->new({
    local_tests_only   => 1,
    dont_copy_prefs    => 1,
    userprefs_filename => '/dev/null',
    post_config_text   => "use_bayes 0\nuse_auto_welcomelist 0\nuse_txrep 0\n",
});
$main->init(1);

my @files;
find({ no_chdir => 1, preprocess => sub { sort @_ }, wanted => sub { push @files, $_ if -f } }, @ARGV);
foreach my $file (@files) {
    open(my $in, '<:raw', $file) or next;
    my $text = do { local $/; <$in> };
    close $in;
    my $mail = $main->parse($text, 1);
    my $status = $main->check($mail);
    my @names = @{ $status->{test_names_hit} };
    push @names, @{ $status->{subtest_names_hit} } if $ENV{RULES_SUBRULES};
    my %seen;
    @names = sort grep { !$seen{$_}++ } @names;
    printf "%s\t%.3f\t%s\n", $file, $status->get_score, join(',', @names);
    $status->finish;
    $mail->finish;
}
